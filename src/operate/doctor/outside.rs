//! The checks of the broker, the cache and the mail server.

use std::path::PathBuf;
use std::time::Instant;

use chrono::Utc;
use lettre::message::Mailbox;

use super::Verdict;
use super::database::skew;
use super::wording::{quoted, rename, restart};
use crate::broker::BrokerError;
use crate::broker::amqp::{self, About, AmqpUrl, Finding, Kind};
use crate::broker::management::Rabbit;
use crate::cache::{RedisCache, RedisUrl};
use crate::mail::{SmtpMailer, SmtpManners, SmtpUrl};

/// What a process depends on besides the database, as it is configured.
#[derive(Clone)]
pub struct Dependencies {
    /// RabbitMQ, with the queues that are wanted; without it the database's tables are the broker.
    pub broker: Setting<Rabbit>,
    /// Redis, with the prefix of keys.
    pub cache: Setting<(RedisUrl, String)>,
    /// Where mail goes; absent if the process sends none.
    pub mail: Setting<Mail>,
}

/// What a variable says.
#[derive(Clone)]
pub enum Setting<T> {
    /// It is not set.
    Absent,
    /// It is set to something that can't be used, which is told elsewhere.
    Wrong,
    /// It is set.
    Set(T),
}

/// That a check can't be made, since its variable is wrong.
fn wrong() -> Vec<Verdict> {
    vec![Verdict::unknown("its variable is wrong")]
}

/// Where mail goes.
#[derive(Clone)]
pub enum Mail {
    /// To this server, from this sender.
    Server(Box<(SmtpUrl, SmtpManners, Mailbox)>),
    /// Into files.
    Files(PathBuf),
}

pub(super) async fn broker(of: Dependencies) -> Vec<Verdict> {
    const VARIABLE: &str = "RABBITMQ_URL";
    let url = match &of.broker {
        Setting::Set(Rabbit { url, .. }) => url,
        Setting::Wrong => return wrong(),
        Setting::Absent => {
            return vec![Verdict::ok("the tables of the database (RABBITMQ_URL is not set)")];
        }
    };
    let probe = match amqp::probe(url).await {
        Ok(probe) => probe,
        Err(error) => return vec![unusable(url, &error)],
    };
    if let Some(why) = &probe.blocked {
        let found = format!("{} has an alarm and takes no messages: {why}", probe.version);
        let mend =
            "rabbitmq-diagnostics alarms  # then free disk or memory on the node that it names";
        return vec![Verdict::fail(found, VARIABLE, mend)];
    }
    if let Some(why) = &probe.may_not_publish {
        return vec![Verdict::fail(
            format!("the user may not publish: {why}"),
            VARIABLE,
            permissions(url),
        )];
    }
    let ms = probe.latency.as_secs_f64() * 1e3;
    vec![Verdict::ok(format!(
        "{}, signed in within {ms:.1} ms, may publish; it blocks nobody who publishes, so no node has a memory or disk alarm",
        probe.version
    ))]
}

/// Why the broker can't be used, and what helps.
fn unusable(url: &AmqpUrl, error: &BrokerError) -> Verdict {
    const VARIABLE: &str = "RABBITMQ_URL";
    // The error names the variable itself.
    let found = error.to_string();
    let found = found.strip_prefix("RABBITMQ_URL: ").unwrap_or(&found);
    match error {
        BrokerError::Forbidden(_) => Verdict::fail(found, VARIABLE, permissions(url)),
        BrokerError::Refused(why) if why.contains("virtual host") => {
            let vhost = quoted(url.virtual_host());
            let mend = format!("rabbitmqctl add_vhost {vhost}; {}", permissions(url));
            Verdict::fail(found, VARIABLE, mend)
        }
        BrokerError::Refused(_) => {
            let mend = format!("rabbitmqctl change_password {} PASSWORD", quoted(url.user()));
            Verdict::fail(found, VARIABLE, format!("{mend}  # or correct {VARIABLE}"))
        }
        _ => Verdict::fail(found, VARIABLE, restart(VARIABLE)),
    }
}

/// The command that lets our user do what it has to.
fn permissions(url: &AmqpUrl) -> String {
    let (vhost, user) = (quoted(url.virtual_host()), quoted(url.user()));
    format!("rabbitmqctl set_permissions -p {vhost} {user} '.*' '.*' '.*'")
}

pub(super) async fn topology(of: Dependencies) -> Vec<Verdict> {
    let rabbit = match &of.broker {
        Setting::Set(rabbit) => rabbit,
        Setting::Wrong => return wrong(),
        Setting::Absent => return vec![Verdict::ok("the tables come with the migrations")],
    };
    let Rabbit { url, topology, .. } = rabbit;
    let findings = match rabbit.check().await {
        Ok(findings) => findings,
        Err(BrokerError::Forbidden(why)) => {
            let found = format!("the queues can't be checked: {why}");
            return vec![Verdict::fail(found, topology.main(), permissions(url))];
        }
        Err(_) => return vec![Verdict::unknown("the broker can't be used")],
    };
    if findings.is_empty() {
        return vec![Verdict::ok(topology.as_wanted())];
    }
    findings.iter().map(|finding| of_finding(finding, url)).collect()
}

/// A difference from the topology, and what mends it.
fn of_finding(finding: &Finding, url: &AmqpUrl) -> Verdict {
    let (name, vhost) = (finding.about.name(), quoted(url.virtual_host()));
    let found = format!("{name}: {}", finding.problem);
    let delete = || match &finding.about {
        About::Queue(_) => {
            format!("rabbitmqctl delete_queue -p {vhost} --if-empty {}", quoted(name))
        }
        About::Exchange(_) => {
            format!("rabbitmqadmin --vhost {vhost} delete exchange name={}", quoted(name))
        }
    };
    match finding.kind {
        Kind::Missing => Verdict::fail(found, name, "taskd topology declare"),
        Kind::Different => {
            Verdict::fail(found, name, format!("{} && taskd topology declare", delete()))
        }
        Kind::LeftOver => Verdict::warn(found, name, delete()),
        Kind::Unlimited => Verdict::warn(found, name, limit(name, &vhost)),
        Kind::Unseen => Verdict::warn(found, name, "rabbitmq-plugins enable rabbitmq_management"),
    }
}

/// The command that limits a queue to 1 GiB. A full one refuses messages, so that none is lost.
fn limit(queue: &str, vhost: &str) -> String {
    let policy = r#"{"max-length-bytes":1073741824,"overflow":"reject-publish"}"#;
    let (name, pattern) = (format!("limit-{queue}"), format!("^{}$", regex::escape(queue)));
    format!(
        "rabbitmqctl set_policy -p {vhost} {} {} '{policy}' --apply-to queues",
        quoted(&name),
        quoted(&pattern)
    )
}

pub(super) async fn cache(of: Dependencies) -> Vec<Verdict> {
    const VARIABLE: &str = "REDIS_URL";
    let (url, prefix) = match &of.cache {
        Setting::Set((url, prefix)) => (url, prefix),
        Setting::Wrong => return wrong(),
        Setting::Absent => {
            let found = "none, or the memory of `taskd up` (REDIS_URL is not set)";
            return vec![Verdict::ok(found)];
        }
    };
    let away = |found: String| vec![Verdict::fail(found, VARIABLE, restart(VARIABLE))];
    let redis = match RedisCache::new(url, prefix) {
        Ok(redis) => redis,
        Err(error) => return away(error.to_string()),
    };
    if let Some(why) = redis.refusal().await {
        let example = rename(VARIABLE, "redis://USER:PASSWORD@HOST:6379/0");
        return vec![Verdict::fail(format!("Redis refuses: {why}"), VARIABLE, example)];
    }
    let asked = Instant::now();
    match redis.probe().await {
        Err(error) => away(format!("{url} can't be used: {error}")),
        Ok(probe) => {
            let ms = asked.elapsed().as_secs_f64() * 1e3;
            let found =
                format!("Redis {}, {ms:.1} ms for four commands, takes writes", probe.version);
            let clock = skew("Redis", probe.time - Utc::now(), VARIABLE);
            vec![Verdict::ok(found), clock]
        }
    }
}

pub(super) async fn mail(of: Dependencies) -> Vec<Verdict> {
    const VARIABLE: &str = "SMTP_URL";
    let (url, manners, from) = match of.mail {
        Setting::Wrong => return wrong(),
        Setting::Absent => {
            let found = "not checked: this process sends no mail; `taskd doctor` with a worker's \
                         variables checks it";
            return vec![Verdict::ok(found)];
        }
        Setting::Set(Mail::Server(server)) => *server,
        Setting::Set(Mail::Files(directory)) => {
            let place = directory.display();
            return vec![match std::fs::metadata(&directory) {
                Ok(found) if found.permissions().readonly() || !found.is_dir() => Verdict::fail(
                    format!("{place} is no directory that can be written to"),
                    "MAIL_DIR",
                    "export MAIL_DIR=.taskd/mail",
                ),
                _ => Verdict::ok(format!("files in {place} (SMTP_URL is not set)")),
            }];
        }
    };
    let mailer = match SmtpMailer::new(&url, from, 1, manners) {
        Ok(mailer) => mailer,
        Err(error) => return vec![Verdict::fail(error.to_string(), VARIABLE, restart(VARIABLE))],
    };
    let asked = Instant::now();
    vec![match mailer.probe().await {
        Ok(name) => {
            let ms = asked.elapsed().as_secs_f64() * 1e3;
            Verdict::ok(format!("{name} is ready for mail, {ms:.1} ms"))
        }
        Err(failure) => {
            let found = format!("{url}: {}", failure.message);
            Verdict::fail(found, VARIABLE, restart(VARIABLE))
        }
    }]
}
