//! A browser of a test's own, and what tests do with it.

use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use fantoccini::elements::Element;
use fantoccini::wd::{TimeoutConfiguration, WebDriverCompatibleCommand, WindowHandle};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use taskd_testing::eventually;
use url::{ParseError, Url};
use uuid::Uuid;

/// How long a script of a test may run: axe looks at each element of a page.
const SCRIPT: Duration = Duration::from_secs(60);

/// Chromium, with nothing of a user's in it.
pub struct Browser {
    pub driver: Client,
    /// The address of the console's instance.
    base: String,
    chromedriver: Child,
    /// Open for as long as chromedriver may write to it.
    _output: Lines<BufReader<ChildStdout>>,
    profile: PathBuf,
}

impl Browser {
    pub async fn start(base: &str) -> Browser {
        Browser::start_with(base, json!({})).await
    }

    /// Without JavaScript in pages. What tests themselves run still runs.
    pub async fn start_without_scripts(base: &str) -> Browser {
        let preferences = json!({ "profile.managed_default_content_settings.javascript": 2 });
        Browser::start_with(base, preferences).await
    }

    async fn start_with(base: &str, preferences: Value) -> Browser {
        let mut chromedriver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // With the browsers that it starts, so that all of them can be ended together.
            .process_group(0)
            .spawn()
            .expect("chromedriver, of Debian's package chromium-driver");
        let mut output = BufReader::new(chromedriver.stdout.take().unwrap()).lines();
        let port = output
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, rest) = line.split_once("successfully on port ")?;
                Some(rest.trim_end_matches('.').to_owned())
            })
            .expect("the port of chromedriver");
        let profile =
            std::env::temp_dir().join(format!("taskd_browser_{}", Uuid::new_v4().simple()));
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
            "--lang=en-GB",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments, "prefs": preferences },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        });
        let driver = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities.as_object().unwrap().clone())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap();
        let patience = TimeoutConfiguration::new(Some(SCRIPT), None, None);
        driver.update_timeouts(patience).await.unwrap();
        Browser { driver, base: base.to_owned(), chromedriver, _output: output, profile }
    }

    /// Opens a page of the console.
    pub async fn open(&self, path: &str) {
        self.driver.goto(&format!("{}/console{path}", self.base)).await.unwrap();
    }

    /// Signs in with an address and a password, from the page that asks for them.
    pub async fn sign_in(&self, email: &str, password: &str) {
        self.open("/sign-in").await;
        self.fill("input[name=email]", email).await;
        self.fill("input[name=password]", password).await;
        self.click("form button.main").await;
        self.sees("header .who", "Sign out").await;
    }

    /// What this selector finds first, once it finds something.
    pub async fn find(&self, css: &str) -> Element {
        eventually(&format!("{css} is there"), || async {
            self.driver.find(Locator::Css(css)).await.ok()
        })
        .await
    }

    pub async fn count(&self, css: &str) -> usize {
        self.driver.find_all(Locator::Css(css)).await.unwrap().len()
    }

    /// Clicks, also if the page is just morphing.
    pub async fn click(&self, css: &str) {
        eventually(&format!("{css} can be clicked"), || async {
            let found = self.driver.find(Locator::Css(css)).await.ok()?;
            found.click().await.ok()
        })
        .await;
    }

    /// Writes into a field, in place of what is in it.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Sends keys to whatever has the focus.
    pub async fn press(&self, keys: &str) {
        self.driver.active_element().await.unwrap().send_keys(keys).await.unwrap();
    }

    /// Waits until some element like this has this text in it.
    pub async fn sees(&self, css: &str, text: &str) {
        eventually(&format!("{css} says {text:?}"), || async {
            let script = "return [...document.querySelectorAll(arguments[0])]\
                 .some((it) => it.textContent.replace(/\\s+/g, ' ').includes(arguments[1]))";
            let found = self.run(script, vec![json!(css), json!(text)]).await;
            (found == true).then_some(())
        })
        .await;
    }

    /// Waits until no element is like this.
    pub async fn sees_no(&self, css: &str) {
        eventually(&format!("no {css} is there"), || async {
            (self.count(css).await == 0).then_some(())
        })
        .await;
    }

    /// The path and query of the page.
    pub async fn address(&self) -> String {
        let url = self.driver.current_url().await.unwrap();
        url.as_str().strip_prefix(&self.base).unwrap().to_owned()
    }

    /// Waits until the address begins with this.
    pub async fn arrives(&self, path: &str) {
        eventually(&format!("the browser is at {path}"), || async {
            self.address().await.starts_with(path).then_some(())
        })
        .await;
    }

    /// Runs a script in the page.
    pub async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.driver.execute(script, arguments).await.unwrap_or(Value::Null)
    }

    /// Another window of the same browser, which is then the current one.
    pub async fn new_window(&self) -> WindowHandle {
        let window = self.driver.new_window(false).await.unwrap().handle;
        self.driver.switch_to_window(window.clone()).await.unwrap();
        window
    }

    /// Light or dark, whatever the machine is.
    pub async fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// A screen of this size in CSS pixels.
    pub async fn resize(&self, width: u32, height: u32) {
        let screen =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", screen).await;
    }

    /// Sends a command of Chromium's own protocol
    /// (https://chromedevtools.github.io/devtools-protocol/).
    async fn devtools(&self, command: &str, parameters: Value) {
        let body = json!({ "cmd": command, "params": parameters });
        self.driver.issue_cmd(Vendor("goog/cdp/execute", body)).await.unwrap();
    }

    /// What Chromium has logged since it was last asked: `browser` or `performance`.
    async fn log(&self, log: &str) -> Vec<Value> {
        let entries = self.driver.issue_cmd(Vendor("se/log", json!({ "type": log }))).await;
        entries.unwrap().as_array().unwrap().clone()
    }

    /// Checks that nothing failed in any page since the last check, and that none asked anybody but
    /// its own instance for something.
    pub async fn was_clean(&self) {
        for entry in self.log("browser").await {
            // A status that a test provokes is no fault of the page.
            let message = entry["message"].as_str().unwrap();
            let provoked = message.contains("the server responded with a status of 4");
            assert!(entry["level"] != "SEVERE" || provoked, "{entry}");
        }
        for entry in self.log("performance").await {
            let event: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            if event["message"]["method"] == "Network.requestWillBeSent" {
                let url = event["message"]["params"]["request"]["url"].as_str().unwrap();
                let own = ["data:", "about:", "chrome:"].iter().any(|own| url.starts_with(own));
                assert!(own || url.starts_with(&self.base), "asked for {url}");
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = format!("-{}", self.chromedriver.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.chromedriver.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// A command that chromedriver has beside those of WebDriver: its path, and what it is sent.
#[derive(Debug)]
struct Vendor(&'static str, Value);

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.0))
    }

    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.1.to_string()))
    }
}
