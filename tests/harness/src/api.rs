//! A client of the API.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, ClientBuilder, Method};
use serde_json::{Value, json};

/// What a request was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Answer {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The document, if the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// The error's code, if the status is this one.
    #[track_caller]
    pub fn code(self, status: u16) -> String {
        self.expect(status)["code"].as_str().unwrap().to_owned()
    }
}

/// Longer than any answer takes, even that of a process that is being stopped. A test that waits for
/// an answer that never comes fails, and says so.
const LONGEST_ANSWER: Duration = Duration::from_secs(60);

fn builder() -> ClientBuilder {
    http().timeout(LONGEST_ANSWER)
}

/// A client of HTTP that knows a provider of cryptography, without which none can be made.
pub fn http() -> ClientBuilder {
    // A second call finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
}

#[derive(Clone)]
pub struct Api {
    pub base: String,
    pub client: Client,
}

impl Api {
    pub fn at(address: &str) -> Api {
        Api { base: format!("http://{address}"), client: builder().build().unwrap() }
    }

    /// The same with this token in every request.
    pub fn with_token(&self, token: &str) -> Api {
        let bearer = format!("Bearer {token}").parse().unwrap();
        let headers = HeaderMap::from_iter([(reqwest::header::AUTHORIZATION, bearer)]);
        let client = builder().default_headers(headers).build().unwrap();
        Api { base: self.base.clone(), client }
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, format!("{}{path}", self.base))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        Answer::of(request.send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request("POST", path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.request("PUT", path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(self.request("PATCH", path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request("DELETE", path)).await
    }

    /// A new task with this title for this user.
    pub async fn task(&self, title: &str, user: Option<i64>) -> Value {
        self.post("/tasks", json!({ "title": title, "userId": user })).await.expect(201)
    }

    /// A new user's id.
    pub async fn user(&self, email: &str) -> i64 {
        let user =
            self.post("/users", json!({ "email": email, "password": "correct horse" })).await;
        user.expect(201)["id"].as_i64().unwrap()
    }

    /// How many tasks there are.
    pub async fn tasks(&self) -> i64 {
        let page = self.get("/tasks?limit=1&total=true").await.expect(200);
        page["total"].as_i64().unwrap()
    }

    /// The open dead letters, once the page has so many. Its total is counted in a statement of its
    /// own, so it may be ahead of the page.
    pub async fn letters(&self, count: usize) -> Vec<Value> {
        crate::eventually(&format!("{count} dead letters"), || async {
            let mut page = self.get("/dead-letters?limit=100").await.expect(200);
            let Value::Array(letters) = page["data"].take() else { panic!("{page}") };
            (letters.len() == count).then_some(letters)
        })
        .await
    }

    /// Every event there is, the first one first, each with its payload.
    pub async fn events(&self) -> Vec<Value> {
        let page = self.get("/events?limit=100").await.expect(200);
        assert_eq!(page["nextCursor"], Value::Null, "more than a page of them");
        let mut events = Vec::new();
        for listed in page["data"].as_array().unwrap().iter().rev() {
            let path = format!("/events/{}", listed["eventId"].as_str().unwrap());
            events.push(self.get(&path).await.expect(200));
        }
        events
    }

    /// The sum of a metric over the label sets that contain this text; 0 where there is none.
    pub async fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = self.get("/metrics").await.text;
        let of_metric = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && line.contains(labels)
        };
        text.lines()
            .filter(of_metric)
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }
}
