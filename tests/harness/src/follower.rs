//! A follower of the change feed's stream.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;

use super::{Answer, Api};

/// Longer than any silence of a stream, which says something every 15 s.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

pub struct Follower {
    response: reqwest::Response,
    /// What has come and is not a whole block yet.
    rest: Vec<u8>,
    blocks: VecDeque<String>,
    last_id: String,
}

impl Follower {
    /// Opens a stream, after the event with this id if there is one.
    pub async fn open(api: &Api, path: &str, last: Option<&str>) -> Follower {
        match Follower::try_open(api, path, last).await {
            Ok(Ok(follower)) => follower,
            Ok(Err(refused)) => panic!("{refused:?}"),
            Err(error) => panic!("{error:?}"),
        }
    }

    /// The same, where it may fail: with an answer that is no stream, or without any.
    pub async fn try_open(
        api: &Api,
        path: &str,
        last: Option<&str>,
    ) -> reqwest::Result<Result<Follower, Answer>> {
        let mut request = api.request("GET", path).timeout(Duration::from_secs(3_600));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await?;
        if response.status() != 200 {
            return Ok(Err(Answer::of(response).await));
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let (rest, blocks) = (Vec::new(), VecDeque::new());
        Ok(Ok(Follower { response, rest, blocks, last_id: String::new() }))
    }

    /// The next block of lines; `None` at the end. May be dropped at any time.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(block) = self.blocks.pop_front() {
                return Some(block);
            }
            let chunk = tokio::time::timeout(LONGEST_SILENCE, self.response.chunk()).await;
            // A connection that breaks is an end like any other.
            let chunk = chunk.expect("a stream says something every 15 s").ok().flatten()?;
            self.rest.extend_from_slice(&chunk);
            while let Some(end) = self.rest.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.rest.drain(..end + 2).collect();
                self.blocks.push_back(String::from_utf8(block).unwrap());
            }
        }
    }

    /// The id and the data of the next event; `None` at the end. May be dropped at any time.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            if let Some(id) = field("id: ") {
                self.last_id = id.to_owned();
            }
            if let Some(data) = field("data: ") {
                return Some((self.last_id.clone(), serde_json::from_str(data).unwrap()));
            }
        }
    }

    /// The next events.
    pub async fn take(&mut self, count: usize) -> Vec<(String, Value)> {
        let mut taken = Vec::new();
        while taken.len() < count {
            taken.push(self.next().await.expect("the stream goes on"));
        }
        taken
    }

    /// Waits until the stream ends, past whatever it says.
    pub async fn until_the_end(&mut self) {
        let end = async { while self.block().await.is_some() {} };
        tokio::time::timeout(LONGEST_SILENCE, end).await.expect("the stream ends");
    }

    /// The next comment.
    pub async fn comment(&mut self) -> String {
        loop {
            let block = self.block().await.expect("the stream goes on");
            if let Some(id) = block.lines().find_map(|line| line.strip_prefix("id: ")) {
                self.last_id = id.to_owned();
            }
            if block.starts_with(':') {
                return block;
            }
        }
    }

    /// Where to go on.
    pub fn last_id(&self) -> &str {
        &self.last_id
    }
}
