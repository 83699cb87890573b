//! The HTTP API of RabbitMQ's management plugin (<https://www.rabbitmq.com/docs/http-api-reference>),
//! for what AMQP can't ask: which queues of others are bound to the exchange, and what limits them.

use std::collections::BTreeSet;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::BrokerError;
use super::amqp::{self, About, AmqpUrl, Finding};
use super::topology::{Exchange, Topology};
use crate::ground::secret::Secret;
use crate::ground::tls::{Tls, http_client};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most queues that are looked at.
const MOST_QUEUES: usize = 200;
/// The arguments and the members of a policy that limit a queue's length.
const LIMITS: [&str; 4] = ["x-max-length", "x-max-length-bytes", "max-length", "max-length-bytes"];

/// RabbitMQ, and what is wanted there.
#[derive(Clone)]
pub struct Rabbit {
    /// How to reach it.
    pub url: AmqpUrl,
    /// What is wanted there.
    pub topology: Topology,
    /// Its management API.
    pub management: Management,
}

impl Rabbit {
    /// Finds all that is not as it should be, without making anything.
    ///
    /// # Errors
    /// The broker can't be reached.
    pub async fn check(&self) -> Result<Vec<Finding>, BrokerError> {
        let mut findings = amqp::check(&self.url, &self.topology).await?;
        if let Some(exchange) = &self.topology.exchange {
            findings.extend(self.management.check(exchange).await);
        }
        Ok(findings)
    }
}

/// The management API of a broker.
#[derive(Clone)]
pub struct Management {
    client: Client,
    base: Url,
    user: String,
    password: Secret,
    virtual_host: String,
}

#[derive(Deserialize)]
struct Binding {
    destination: String,
    destination_type: String,
}

#[derive(Deserialize)]
struct Queue {
    #[serde(default)]
    arguments: Value,
    #[serde(default)]
    effective_policy_definition: Value,
}

impl Queue {
    fn is_limited(&self) -> bool {
        [&self.arguments, &self.effective_policy_definition]
            .iter()
            .any(|set| LIMITS.iter().any(|limit| set.get(limit).is_some_and(Value::is_number)))
    }
}

impl Management {
    /// The API at this URL, or else at the usual port of the broker's host. Who the URL doesn't
    /// name signs in as to the broker.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the URL, without the password.
    pub fn new(url: Option<&str>, broker: &AmqpUrl, tls: &Tls) -> Result<Management, String> {
        let (mut base, user, password) = match url {
            None => (broker.usual_management()?, None, None),
            Some(text) => {
                // The parser's errors say nothing of what is in the text, which may be a password.
                let parsed = Url::parse(text.trim()).ok();
                let mut base = parsed
                    .filter(|url| matches!(url.scheme(), "http" | "https"))
                    .ok_or("must be like http://user:password@host:15672")?;
                let decoded =
                    |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
                let user = Some(decoded(base.username())).filter(|user| !user.is_empty());
                let password = base.password().map(decoded);
                base.set_query(None);
                let _ = (base.set_username(""), base.set_password(None));
                (base, user, password)
            }
        };
        base.set_fragment(None);
        let mut client = http_client().no_proxy().timeout(PATIENCE);
        if base.scheme() == "https" {
            client = client.tls_backend_preconfigured(tls.client_config()?);
        }
        let client = client.build().map_err(|error| format!("can't be used: {error}"))?;
        let (own_user, own_password) = broker.credentials();
        Ok(Management {
            client,
            base,
            user: user.unwrap_or_else(|| own_user.to_owned()),
            password: Secret::new(password.unwrap_or_else(|| own_password.to_owned())),
            virtual_host: broker.virtual_host().to_owned(),
        })
    }

    /// What is wrong with the queues that are bound to an exchange: one without a limit takes
    /// messages until the broker's disk is full, and then nobody can publish.
    pub async fn check(&self, exchange: &Exchange) -> Vec<Finding> {
        match self.unlimited(&exchange.name).await {
            Ok(queues) => {
                let finding = |queue: String| {
                    let problem = format!(
                        "is bound to the exchange {} and has no length limit: if nobody consumes \
                         from it, it fills the broker's disk for all",
                        exchange.name
                    );
                    Finding::unlimited(About::Queue(queue), problem)
                };
                queues.into_iter().map(finding).collect()
            }
            Err(why) => {
                let problem = format!(
                    "whether each queue that is bound to it has a length limit can't be seen: \
                     {why}. Enable RabbitMQ's management plugin, or set RABBITMQ_MANAGEMENT_URL"
                );
                vec![Finding::unseen(About::Exchange(exchange.name.clone()), problem)]
            }
        }
    }

    /// The queues without a length limit that get messages from this exchange, also by way of
    /// others.
    async fn unlimited(&self, exchange: &str) -> Result<BTreeSet<String>, String> {
        let mut exchanges = vec![exchange.to_owned()];
        let (mut seen, mut queues) = (BTreeSet::new(), BTreeSet::new());
        while let Some(exchange) = exchanges.pop() {
            if !seen.insert(exchange.clone()) || seen.len() > MOST_QUEUES {
                continue;
            }
            let path = ["exchanges", &self.virtual_host, &exchange, "bindings", "source"];
            let bindings: Vec<Binding> = self.get(&path).await?.unwrap_or_default();
            for binding in bindings {
                match &*binding.destination_type {
                    "queue" => drop(queues.insert(binding.destination)),
                    _ => exchanges.push(binding.destination),
                }
            }
        }
        let mut unlimited = BTreeSet::new();
        for name in queues.into_iter().take(MOST_QUEUES) {
            let queue: Option<Queue> = self.get(&["queues", &self.virtual_host, &name]).await?;
            if queue.is_some_and(|queue| !queue.is_limited()) {
                unlimited.insert(name);
            }
        }
        Ok(unlimited)
    }

    /// What the API has at a path; `None` if there is nothing.
    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<T>, String> {
        let place = self.place();
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| format!("{place} is no place for an API"))?
            .pop_if_empty()
            .push("api")
            .extend(path);
        let silent = |error: reqwest::Error| match error.is_timeout() {
            true => format!("{place} has not answered within {} s", PATIENCE.as_secs()),
            false => format!("{place} does not answer"),
        };
        let request = self.client.get(url).basic_auth(&self.user, Some(self.password.expose()));
        let response = request.send().await.map_err(silent)?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => {
                let read = response.json().await;
                read.map(Some).map_err(|_| format!("{place} does not answer as RabbitMQ does"))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(format!(
                "{place} does not let {} see it: rabbitmqctl set_user_tags {} monitoring",
                self.user, self.user
            )),
            other => Err(format!("{place} has answered {other}")),
        }
    }

    /// Where the API is, for people.
    fn place(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        let port = self.base.port_or_known_default().unwrap_or_default();
        format!("{}://{host}:{port}", self.base.scheme())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(url: Option<&str>) -> Result<Management, String> {
        let tls = Tls::default();
        let broker = AmqpUrl::parse("amqp://me:hunter2@mq:1234/a%2Fb", &tls).unwrap();
        Management::new(url, &broker, &tls)
    }

    #[test]
    fn it_is_at_the_brokers_host_unless_said_otherwise() {
        let usual = of(None).unwrap();
        assert_eq!((&*usual.place(), &*usual.user), ("http://mq:15672", "me"));
        assert_eq!((usual.password.expose(), &*usual.virtual_host), ("hunter2", "a/b"));
        let given = of(Some("http://you:p%40ss@other:80/rabbit/")).unwrap();
        assert_eq!((&*given.place(), &*given.user), ("http://other:80", "you"));
        assert_eq!(given.password.expose(), "p@ss");
        assert_eq!(given.base.as_str(), "http://other/rabbit/");
        for wrong in ["ftp://h", "hunter2", "mq:15672", "http://u:hunter2@h:x"] {
            let error = of(Some(wrong)).err().unwrap();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_queue_is_limited_by_its_arguments_or_by_a_policy() {
        for (queue, limited) in [
            (json!({}), false),
            (json!({ "arguments": { "x-message-ttl": 5 } }), false),
            (json!({ "arguments": { "x-max-length": 5 } }), true),
            (json!({ "effective_policy_definition": { "max-length-bytes": 5 } }), true),
            (json!({ "arguments": [], "effective_policy_definition": [] }), false),
        ] {
            let read: Queue = serde_json::from_value(queue.clone()).unwrap();
            assert_eq!(read.is_limited(), limited, "{queue}");
        }
    }
}
