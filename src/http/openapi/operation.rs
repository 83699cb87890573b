//! The schemas of what operators are answered. A test holds answers against them
//! (`tests/it/openapi_operation.rs`).

mod letters;
mod webhooks;

use serde_json::{Map, Value, json};

use crate::domain::presence::{NO_WORKER, TWO_VERSIONS, WITHOUT_PROGRESS};
use crate::http::describe::schema;

/// A member: its name, its schema, and what it says.
type Member = (&'static str, Value, &'static str);

fn text() -> Value {
    json!({ "type": "string" })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn number() -> Value {
    json!({ "type": "integer", "format": "int64" })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn one_of(names: &[&str]) -> Value {
    json!({ "type": "string", "enum": names })
}

fn list(of: Value) -> Value {
    json!({ "type": "array", "items": of })
}

/// A value of this schema, or null.
fn maybe(mut of: Value) -> Value {
    if of.get("$ref").is_some() {
        return json!({ "type": "object", "nullable": true, "allOf": [of] });
    }
    of["nullable"] = json!(true);
    of
}

/// An object that always has all of these members.
fn object(description: &str, members: Vec<Member>) -> Value {
    let required: Vec<&str> = members.iter().map(|(name, ..)| *name).collect();
    let properties = members.into_iter().map(|(name, mut schema, says)| {
        // In OpenAPI 3.0 a reference has nothing beside it.
        if schema.get("$ref").is_none() {
            schema["description"] = json!(says);
        }
        (name.to_owned(), schema)
    });
    let properties = Map::from_iter(properties);
    json!({ "type": "object", "description": description, "required": required, "properties": properties })
}

/// A list in `data`, with the cursor of its next page.
fn page(description: &str, of: &str, more: Vec<Member>) -> Value {
    let data = ("data", list(schema(of)), "The rows of this page.");
    let next = (
        "nextCursor",
        maybe(text()),
        "What to pass as `cursor` for the next page; null on the last.",
    );
    object(description, [vec![data, next], more].concat())
}

/// A whole list in `data`.
fn all(description: &str, of: &str) -> Value {
    object(description, vec![("data", list(schema(of)), "All of them.")])
}

/// Every schema, by its name.
pub(super) fn schemas() -> Value {
    let mut schemas = json!({});
    super::merge(&mut schemas, letters::letters());
    super::merge(&mut schemas, letters::replays());
    super::merge(&mut schemas, overview());
    super::merge(&mut schemas, rest());
    super::merge(&mut schemas, webhooks::schemas());
    schemas
}

fn overview() -> Value {
    let count = |name, says| (name, number(), says);
    let milliseconds = || maybe(json!({ "type": "number" }));
    json!({
        "OverviewProblem": object("Something that is wrong, or that somebody should look at.", vec![
            ("kind", text(), "What sort it is, for programs."),
            ("state", one_of(&["fail", "warn"]), "Whether something doesn't work, or should be looked at."),
            ("what", text(), "The same in words."),
            ("since", maybe(time()), "Since when, if that is known."),
            ("growing", maybe(flag()), "Whether it gets worse, if that is known."),
            ("count", maybe(number()), "How many events, messages or letters it is about."),
            ("press", text(), "What to do, with the command."),
            ("about", object("What it is about.", vec![
                ("type", text(), "`database`, `broker`, `process`, `queue`, `outbox`, `effect` or `group`."),
                ("name", text(), "Its name: of a group, the fingerprint."),
            ]), "What it is about."),
        ]),
        "Minute": object("What was done in a minute.", vec![
            ("minute", time(), "When it began."),
            count("created", "Events written."),
            count("published", "Events that the broker has confirmed."),
            count("processed", "Deliveries whose effects were all done."),
            count("retried", "Deliveries that failed and are tried again."),
            count("dead", "Deliveries that became dead letters."),
            ("p50Ms", milliseconds(), "Milliseconds from commit to effect, half of them; null if there was none."),
            ("p95Ms", milliseconds(), "The same of 95 in a hundred."),
        ]),
        "Overview": object("How everything is.", vec![
            ("working", flag(), "Whether nothing fails."),
            ("summary", text(), "The same in a line, with the reason."),
            ("problems", list(schema("OverviewProblem")), "What is wrong, or should be looked at, worst first."),
            ("outbox", maybe(object("", vec![
                count("unpublished", "How many there are; counted up to 10,000."),
                ("oldestAgeSeconds", milliseconds(), "How old the oldest of them is."),
            ])), "The events that wait to be published; null while the database is away."),
            ("queues", list(object("A queue of the broker.", vec![
                ("name", text(), "Its name."),
                ("role", one_of(&["main", "delay", "dead"]), "What it is for."),
                count("messages", "How many messages wait in it."),
                ("consumers", maybe(number()), "How many consumers it has, if the broker knows."),
            ])), "The queues, as the broker said a moment ago."),
            ("effects", list(object("An effect.", vec![
                ("name", text(), "Its name."),
                ("state", one_of(&["running", "paused", "held"]), "Whether it runs."),
                count("parked", "How many messages wait for it; counted up to 10,000."),
                ("since", maybe(time()), "Since when it is not running."),
                ("by", maybe(text()), "Who has paused it."),
            ])), "The effects."),
            ("deadLetters", maybe(object("", vec![
                count("open", "How many there are."),
                count("causes", "Of how many causes."),
                count("growing", "How many of these have had a letter in the last five minutes."),
            ])), "The open dead letters; null while the database is away."),
            ("processes", list(schema("Process")), "The processes, as `/processes` has them."),
            ("history", list(schema("Minute")), "Each of the minutes that were asked for, oldest first."),
        ]),
    })
}

fn rest() -> Value {
    let variable = object(
        "A variable of the configuration.",
        vec![
            ("name", text(), "Its name."),
            (
                "source",
                one_of(&["flag", "environment", ".env", "default", "unset"]),
                "Where its value comes from.",
            ),
            ("value", maybe(text()), "Null if there is none, or if it may hold a password."),
            ("description", text(), "What it is for."),
        ],
    );
    json!({
        "AuditEntry": object("What somebody did.", vec![
            ("id", number(), "Ascends."),
            ("at", time(), "When."),
            ("actor", text(), "Who: a user, a token, or a user of the machine on which a command ran."),
            ("action", text(), "What."),
            ("target", maybe(text()), "To what."),
            ("details", json!({}), "More about it."),
            ("dryRun", flag(), "Whether nothing was to be changed."),
            ("origin", maybe(text()), "From where: an address or a machine."),
            ("requestId", maybe(text()), "In which request."),
        ]),
        "AuditPage": page("A page of the audit log, newest first.", "AuditEntry", Vec::new()),
        "Process": object("A process that serves or works.", vec![
            ("id", json!({ "type": "string", "format": "uuid" }), "Tells it from every other."),
            ("role", one_of(&["serve", "work", "up"]), "What it does."),
            ("name", text(), "The worker's name, or the host's name and the process id."),
            ("version", text(), "The version of the program."),
            ("host", text(), "Its machine."),
            ("pid", number(), "Its id there."),
            ("startedAt", time(), "When it started."),
            ("seenAt", time(), "When it was last seen."),
            ("inHand", number(), "How many deliveries it has in hand; of `serve`, requests."),
            ("lastProgressAt", maybe(time()), "When it last settled a delivery; of `serve`, answered a request."),
            ("state", one_of(&["alive", "silent"]), "Whether it was seen lately."),
        ]),
        "Processes": object("Who is there.", vec![
            ("processes", list(schema("Process")), "Every process that was seen within a day."),
            ("findings", list(object("What needs somebody.", vec![
                ("code", one_of(&[NO_WORKER, WITHOUT_PROGRESS, TWO_VERSIONS]), "For programs."),
                ("message", text(), "The same in words."),
            ])), "What needs somebody."),
        ]),
        "EffectGate": object("An effect, and what keeps it from running.", vec![
            ("name", text(), "Its name."),
            ("state", one_of(&["running", "paused", "held", "unknown"]), "`held` while its breaker is open; `unknown` if messages wait for it that this version can't run."),
            ("pausedBy", maybe(text()), "Who has paused it."),
            ("pausedAt", maybe(time()), "Since when it has been paused."),
            ("pauseReason", maybe(text()), "Why."),
            ("breaker", one_of(&["closed", "open"]), "Its circuit breaker."),
            ("openedAt", maybe(time()), "Since when that has been open."),
            ("error", maybe(text()), "The last error while it was."),
            ("nextProbeAt", maybe(time()), "When the next message is let through."),
            ("parked", number(), "How many messages wait for it; counted up to 100,000."),
        ]),
        "EffectGates": all("The effects.", "EffectGate"),
        "Variable": variable,
        "Configuration": object("What a process is configured with.", vec![
            ("role", one_of(&["serve", "up"]), "Its role."),
            ("version", text(), "The version of the program."),
            ("data", list(schema("Variable")), "The variables that it reads."),
        ]),
        "Examination": object("What is wrong with a process and what it depends on.", vec![
            ("ok", flag(), "Whether everything works; warnings don't count."),
            ("checks", list(object("What a check has found.", vec![
                ("name", text(), "The name of the check."),
                ("state", one_of(&["ok", "warn", "fail"]), "How it is."),
                ("found", text(), "What was found."),
                ("about", maybe(text()), "The variable, the queue or the table that the fault is about."),
                ("mend", maybe(text()), "The command that mends it."),
            ])), "One or more for each check."),
            ("canary", maybe(json!({ "type": "object" })), "Null: only the command sends one."),
            ("variables", list(schema("Variable")), "The variables that any role reads."),
        ]),
    })
}
