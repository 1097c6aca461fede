//! Debian's Chromium, driven over its remote debugging protocol through two pipes.
//!
//! `--remote-debugging-pipe` speaks JSON messages that end in a NUL byte on file
//! descriptors 3 and 4; the shell line below ties those to the child's standard input and
//! output, so that no WebSocket client is needed. A missing Chromium fails the test.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_mins(1);

const COMMAND: &str = r#"exec chromium --remote-debugging-pipe --headless --no-sandbox \
    --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars \
    --window-size=1280,800 --user-data-dir="$0" 3<&0 4>&1 1>/dev/null 2>/dev/null"#;

/// One browser with one page; dropped, it ends the browser.
pub(crate) struct Browser {
    process: Child,
    input: ChildStdin,
    answers: Receiver<Value>,
    next_id: u64,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let profile = tempfile::tempdir().expect("a folder for the browser's profile");
        let mut process = Command::new("sh")
            .arg("-c")
            .arg(COMMAND)
            .arg(profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let (sender, answers) = channel();
        thread::spawn(move || {
            for message in output.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("DevTools speaks JSON");
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            process,
            input,
            answers,
            next_id: 0,
            session: String::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let session = browser.call(
            "Target.attachToTarget",
            &json!({ "targetId": target["targetId"], "flatten": true }),
        );
        session["sessionId"]
            .as_str()
            .expect("a session")
            .clone_into(&mut browser.session);
        browser
    }

    /// Opens a page; what it shows is awaited with [`Browser::wait_for`].
    pub(crate) fn open(&mut self, url: &str) {
        let answer = self.call("Page.navigate", &json!({ "url": url }));
        assert_eq!(answer["errorText"], Value::Null, "opening {url}");
    }

    /// From now on the page is shown as on a screen of so many pixels, in the light or the dark.
    pub(crate) fn show_on(&mut self, (width, height): (u32, u32), is_dark: bool) {
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1,
            "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &screen);
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call(
            "Emulation.setEmulatedMedia",
            &json!({ "features": features }),
        );
    }

    /// Clicks the first element that a CSS selector finds.
    pub(crate) fn click(&mut self, selector: &str) {
        let script = format!("document.querySelector({selector:?}).click()");
        let answer = self.call("Runtime.evaluate", &json!({ "expression": script }));
        assert_eq!(
            answer["exceptionDetails"],
            Value::Null,
            "clicking {selector}"
        );
    }

    /// Clicks, and waits for what comes of it; see [`Self::wait_for`].
    pub(crate) fn click_until(&mut self, selector: &str, condition: &str) -> String {
        self.click(selector);
        self.wait_for(condition)
    }

    /// The visible text of the page, once `condition` (JavaScript over `text`) holds.
    /// Panics with what is shown instead when it does not come to hold.
    pub(crate) fn wait_for(&mut self, condition: &str) -> String {
        let script = format!(
            r"new Promise((resolve) => {{
                const shown = () => document.body ? document.body.innerText : '';
                const holds = (text) => {{ return {condition}; }};
                const end = (found) => {{
                    observer.disconnect();
                    resolve([found, shown()]);
                }};
                const check = () => holds(shown()) && end(true);
                const observer = new MutationObserver(check);
                observer.observe(document, {{ childList: true, subtree: true, characterData: true }});
                setTimeout(() => end(false), 20000);
                check();
            }})"
        );
        let answer = self.call(
            "Runtime.evaluate",
            &json!({ "expression": script, "awaitPromise": true, "returnByValue": true }),
        );
        let [found, text] = &answer["result"]["value"].as_array().expect("two values")[..] else {
            panic!("unexpected answer: {answer}");
        };
        let text = text.as_str().unwrap_or_default().to_owned();
        assert_eq!(
            found, true,
            "{condition} does not hold; the page shows:\n{text}"
        );
        text
    }

    /// Writes what the page looks like as a PNG file.
    pub(crate) fn screenshot(&mut self, path: &Path) {
        let answer = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        let picture = STANDARD
            .decode(answer["data"].as_str().expect("a picture"))
            .expect("base64");
        std::fs::write(path, picture).expect("the picture is written");
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.next_id += 1;
        let id = self.next_id;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        write!(self.input, "{message}\0").expect("chromium is installed and runs");
        loop {
            let mut answer = self
                .answers
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|error| panic!("no answer of chromium to {method}: {error}"));
            if answer["id"] == id {
                assert_eq!(answer["error"], Value::Null, "{method}");
                return answer["result"].take();
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The shell was replaced by the browser, whose own children end with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
