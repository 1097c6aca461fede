//! A person at a page, with a browser that keeps pictures of it in the target folder.

use std::path::Path;

use marketplace_sync::admin::{self, LogStream};
use poem::Route;
use secrecy::SecretString;

use crate::support::app::{Profile, TestApp};
use crate::support::browser::Browser;
use crate::support::server::TestServer;

/// The pages behind a password.
pub(super) async fn serve(app: &TestApp) -> TestServer {
    let pages = Route::new().nest("/admin", admin::operators::routes(&app.app));
    let password = Some(SecretString::from("geheim"));
    let site = admin::with_pages(pages, &app.app.queue, LogStream::new(), password.as_ref());
    TestServer::start(site).await
}

pub(super) struct Visit {
    pub(super) browser: Browser,
    /// How the names of the pictures begin.
    name: String,
}

impl Visit {
    /// Signs in at an address.
    pub(super) fn begin(address: &str, page: &str, on: Profile) -> Self {
        let mut browser = Browser::start();
        // As when a person types the password: the browser keeps it for all that follows.
        browser.open(&format!(
            "http://admin:geheim@{address}/admin/operators.css"
        ));
        let name = format!("{page}-{on:?}").to_lowercase();
        Self { browser, name }
    }

    pub(super) fn picture(&mut self, name: &str) {
        let file = format!("{}-{name}.png", self.name);
        self.browser
            .screenshot(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(file));
    }

    /// At a desk the page shows all of this; on a phone, whose pictures are so high, it fits, by day
    /// and by night.
    pub(super) fn look(&mut self, page: &str, is_complete: &str, shown: &[&str], height: u32) {
        self.browser.show_on((1280, 1400), false);
        self.browser.open(page);
        let text = self.browser.wait_for(is_complete);
        for shown in shown {
            assert!(text.contains(shown), "{shown:?} in {text}");
        }
        self.picture("desk");
        for (is_dark, name) in [(false, "phone"), (true, "phone-dark")] {
            self.browser.show_on((390, height), is_dark);
            self.browser.open(page);
            self.browser.wait_for(is_complete);
            self.browser
                .wait_for("document.documentElement.scrollWidth <= 390");
            self.picture(name);
        }
    }
}
