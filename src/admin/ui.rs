//! The board's single-page UI: static files that `apalis-board-api` carries.
//!
//! The UI routes in the browser, so every path that is no file is `index.html`. Names of
//! the other files contain a hash of their content and may be cached for ever. One script of
//! ours is added to the page: as shipped, its list of queues ends after the first.

use apalis_board_api::ui::ServeUI;
use base64::{Engine, engine::general_purpose::STANDARD};
use poem::{
    Body, Endpoint, IntoEndpoint, Request, Response, endpoint::make_sync, get, http::header,
};
use sha2::{Digest, Sha256};

const INDEX: &str = "index.html";
const OUR_SCRIPT_PATH: &str = "/queues.js";
const OUR_SCRIPT: &str = include_str!("queues.js");

/// Answers every GET with a file of the UI.
pub(super) fn routes() -> impl IntoEndpoint<Endpoint = impl Endpoint> {
    let page = page();
    get(make_sync(move |request: Request| {
        let path = request.uri().path();
        if path == OUR_SCRIPT_PATH {
            return answer(OUR_SCRIPT_PATH, "no-cache", OUR_SCRIPT);
        }
        match ServeUI::get_file(path).filter(|file| !file.path().ends_with(INDEX)) {
            Some(file) => {
                let name = file.path().to_string_lossy();
                let caching = ServeUI::cache_control(&name).unwrap_or("no-cache");
                answer(&name, caching, file.contents().to_vec())
            }
            None => answer(INDEX, "no-cache", page.clone()),
        }
    }))
}

fn answer(name: &str, caching: &str, body: impl Into<Body>) -> Response {
    Response::builder()
        .header(header::CONTENT_TYPE, ServeUI::content_type(name))
        .header(header::CACHE_CONTROL, caching)
        .body(body)
}

fn shipped_page() -> &'static str {
    ServeUI::get_file(INDEX)
        .and_then(|index| index.contents_utf8())
        .expect("apalis-board-api is built with its page")
}

/// The page, with our script.
fn page() -> String {
    let script = format!("<script type=\"module\" src=\"{OUR_SCRIPT_PATH}\"></script></head>");
    shipped_page().replacen("</head>", &script, 1)
}

/// The policy that lets the UI run: see [`super::listener`].
pub(super) fn content_security_policy() -> String {
    let scripts: Vec<String> = inline_scripts(shipped_page())
        .into_iter()
        .map(|script| format!(" 'sha256-{}'", STANDARD.encode(Sha256::digest(script))))
        .collect();
    let scripts = scripts.concat();
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{scripts}; \
         style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The bodies of the `<script>` elements of a page, as a browser hashes them.
fn inline_scripts(page: &str) -> Vec<&str> {
    page.split("<script")
        .skip(1)
        .filter_map(|element| {
            let (_attributes, rest) = element.split_once('>')?;
            rest.split_once("</script>").map(|(body, _)| body)
        })
        .filter(|body| !body.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inline_script_is_hashed_whole() {
        let page = "<script type=\"module\">\nlet a = 1 > 0;\n</script><script src=a></script>";
        assert_eq!(inline_scripts(page), ["\nlet a = 1 > 0;\n"]);
    }

    #[test]
    fn the_policy_names_the_one_inline_script_of_the_shipped_page() {
        assert_eq!(content_security_policy().matches("'sha256-").count(), 1);
    }
}
