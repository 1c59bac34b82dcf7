//! A real browser, driven by the WebDriver protocol (W3C): chromedriver and Chromium, without a window.

use crate::http::{Answer, send};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A browser; it goes away with this.
pub(crate) struct Browser {
    driver: Child,
    session: String,
}

impl Browser {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let started = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn();
        let mut driver = started.expect(
            "chromedriver cannot be started: install Chromium and its driver (Debian: `apt-get install chromium chromium-driver`)",
        );
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port: String = loop {
            let line = lines.next().expect("chromedriver says its port").unwrap();
            if let Some((_, rest)) = line.split_once("on port ") {
                let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                // It says first which port it was asked for.
                if port != "0" && !port.is_empty() {
                    break port;
                }
            }
        };
        // It must not wait for somebody who reads.
        std::thread::spawn(move || lines.for_each(drop));
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ];
        let options = json!({ "args": arguments });
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let base = format!("http://127.0.0.1:{port}/session");
        let made = send("POST", &base, &[], Some(wanted)).await.expect(200).json();
        let session = format!("{base}/{}", made["value"]["sessionId"].as_str().unwrap());
        Self { driver, session }
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        send(method, &format!("{}{path}", self.session), &[], body).await
    }

    /// Opens a page.
    pub(crate) async fn open(&self, url: &str) {
        self.call("POST", "/url", Some(json!({ "url": url }))).await.expect(200);
    }

    /// Types keys where the focus is, as a person without a mouse does.
    pub(crate) async fn type_keys(&self, keys: &str) {
        let mut actions = Vec::new();
        for key in keys.chars() {
            actions.push(json!({ "type": "keyDown", "value": key }));
            actions.push(json!({ "type": "keyUp", "value": key }));
        }
        let all = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.call("POST", "/actions", Some(all)).await.expect(200);
    }

    /// What a script gives.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.call("POST", "/execute/sync", Some(body)).await.expect(200).json()["value"].take()
    }

    /// Waits until a script gives true.
    pub(crate) async fn until(&self, script: &str) {
        let holds = async {
            while self.run(script).await != true {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let held = tokio::time::timeout(Duration::from_secs(20), holds).await.is_ok();
        assert!(held, "{script}: {}", self.run("return document.body.innerText").await);
    }

    /// What the browser has to complain of: a style that its policy forbids, say.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let body = json!({ "type": "browser" });
        let log = self.call("POST", "/se/log", Some(body)).await.expect(200).json();
        let entries = log["value"].as_array().unwrap().iter();
        entries.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session, and not with its driver.
        let _ = Command::new("curl").args(["-s", "-o", "/dev/null", "-X", "DELETE", &self.session]).status();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The key "Tab" (WebDriver §17.4.2).
pub(crate) const TAB: &str = "\u{e004}";

/// The key "Enter".
pub(crate) const ENTER: &str = "\u{e007}";
