//! Reads the configuration of what is examined, and says what is wrong with it.

use std::collections::BTreeSet;

use clap::error::{ContextKind, ContextValue};

use super::variables::{Invocation, misspelt};
use crate::config::{
    BrokerArgs, CacheArgs, ConfigError, DEFAULT_MAIL_DIR, DataArgs, DatabaseArgs, MailArgs,
    RetentionArgs, TlsArgs,
};
use crate::ground::tls::Tls;
use crate::operate::doctor::{Dependencies, Mail, Setting, Source, Variable, Verdict, rename};
use crate::store::PostgresUrl;

/// The arguments of what is examined.
pub(in super::super) struct Examined<'a> {
    pub(in super::super) database: &'a DatabaseArgs,
    pub(in super::super) broker: &'a BrokerArgs,
    pub(in super::super) cache: &'a CacheArgs,
    pub(in super::super) tls: &'a TlsArgs,
    /// Where mail goes, unless this process sends none.
    pub(in super::super) mail: Option<(&'a MailArgs, &'a DataArgs)>,
    /// How long things are kept, unless this process purges nothing.
    pub(in super::super) retention: Option<&'a RetentionArgs>,
}

/// What is to be examined.
pub(in super::super) struct Settings {
    pub(in super::super) database: Setting<PostgresUrl>,
    pub(in super::super) dependencies: Dependencies,
}

/// Reads the settings. The verdicts are about the configuration alone.
pub(in super::super) fn read(
    args: &Examined<'_>,
    invocation: &Invocation,
    variables: &[Variable],
) -> (Settings, Vec<Verdict>) {
    let mut wrong = Vec::new();
    let tls = args.tls.load().unwrap_or_else(|error| {
        wrong.push(verdict(&error));
        Tls::default()
    });
    let database = setting(args.database.url(&tls), &mut wrong);
    let prefix = &args.cache.cache_prefix;
    let cache = args.cache.url(&tls).map(|url| url.map(|url| (url, prefix.clone())));
    let dependencies = Dependencies {
        broker: setting(args.broker.rabbit(&tls), &mut wrong),
        cache: setting(cache, &mut wrong),
        mail: setting(mail(args.mail, &tls), &mut wrong),
    };
    wrong.extend(of_other_roles(invocation));
    wrong.extend(misspelt(variables).into_iter().map(|(name, meant)| match meant {
        Some(meant) => Verdict::warn(
            format!("{name} is no variable of taskd: {meant} may be meant"),
            &name,
            format!("export {meant}=\"${name}\"; unset {name}"),
        ),
        None => {
            let found = format!("{name} is no variable of taskd");
            Verdict::warn(found, &name, format!("unset {name}"))
        }
    }));
    if wrong.is_empty() {
        wrong.push(Verdict::ok(summary(variables)));
    }
    let mut verdicts: Vec<Verdict> =
        wrong.into_iter().map(|verdict| verdict.of("configuration")).collect();
    verdicts.push(retention(args).of("retention"));
    (Settings { database, dependencies }, verdicts)
}

fn setting<T>(read: Result<Option<T>, ConfigError>, wrong: &mut Vec<Verdict>) -> Setting<T> {
    match read {
        Ok(Some(value)) => Setting::Set(value),
        Ok(None) => Setting::Absent,
        Err(error) => {
            wrong.push(verdict(&error));
            Setting::Wrong
        }
    }
}

fn mail(args: Option<(&MailArgs, &DataArgs)>, tls: &Tls) -> Result<Option<Mail>, ConfigError> {
    let Some((mail, data)) = args else { return Ok(None) };
    Ok(Some(match mail.url(tls)? {
        Some(url) => Mail::Server(Box::new((url, mail.manners(), mail.mail_from.clone()))),
        // As `taskd up` has it.
        None if mail.mail_dir.as_os_str() == DEFAULT_MAIL_DIR => {
            Mail::Files(data.data_dir.join("mail"))
        }
        None => Mail::Files(mail.mail_dir.clone()),
    }))
}

fn verdict(error: &ConfigError) -> Verdict {
    let variable = error.variable();
    let mend = match variable {
        "DATABASE_URL" => rename(variable, "postgres://USER:PASSWORD@HOST:5432/DATABASE"),
        "RABBITMQ_URL" => rename(variable, "amqp://USER:PASSWORD@HOST:5672/VHOST"),
        "REDIS_URL" => rename(variable, "redis://USER:PASSWORD@HOST:6379/0"),
        "SMTP_URL" => rename(variable, "smtp://USER:PASSWORD@HOST:587?tls=required"),
        other => format!("unset {other}  # then its default counts"),
    };
    Verdict::fail(error.problem(), variable, mend)
}

/// What is wrong with variables that this command doesn't read itself.
fn of_other_roles(invocation: &Invocation) -> Vec<Verdict> {
    let mut told = BTreeSet::new();
    let mut verdicts = Vec::new();
    for role in [&["serve"][..], &["work"], &["up"], &["purge", "--once"]] {
        let words = ["taskd"].iter().chain(role);
        let Err(error) = invocation.command.clone().try_get_matches_from(words) else { continue };
        // The name of a value is that of its variable.
        let argument = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(argument)) => argument.clone(),
            _ => continue,
        };
        let name = argument.split(['<', '>']).nth(1).unwrap_or(&argument).to_owned();
        if told.insert(name.clone()) {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            let found = line.strip_prefix("error: ").unwrap_or(line);
            verdicts.push(Verdict::fail(
                found,
                &name,
                format!("unset {name}  # then its default counts"),
            ));
        }
    }
    verdicts
}

/// Records are kept for as long as a message can be on its way.
fn retention(args: &Examined<'_>) -> Verdict {
    let Some(keep) = args.retention else {
        return Verdict::ok("not checked: this process purges nothing");
    };
    let longest = humantime::format_duration(args.broker.retry.retry_delays.longest_path());
    match keep.checked(&args.broker.retry) {
        Ok(keep) => Verdict::ok(format!(
            "records are kept for {}, and the longest retry path of a message is {longest}",
            humantime::format_duration(keep.processed)
        )),
        Err(error) => {
            let mend = "unset PROCESSED_RETENTION  # 30d is the default; or shorten RETRY_DELAYS";
            Verdict::fail(error.problem(), error.variable(), mend)
        }
    }
}

fn summary(variables: &[Variable]) -> String {
    let count = |source| variables.iter().filter(|variable| variable.source == source).count();
    format!(
        "of {} variables {} are set by the environment, {} by .env and {} by flags; the others have their defaults",
        variables.len(),
        count(Source::Environment),
        count(Source::File),
        count(Source::Flag)
    )
}
