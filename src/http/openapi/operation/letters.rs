//! Dead letters and their replays.

use serde_json::{Value, json};

use super::{all, flag, list, maybe, number, object, one_of, page, text, time};
use crate::http::describe::schema;

pub(super) fn letters() -> Value {
    let mut attempt = object(
        "A failed attempt.",
        vec![
            ("attempt", number(), "Which attempt, from 1."),
            ("worker", text(), "The worker that ran it."),
            ("at", time(), "When it failed."),
            ("error", text(), "Why."),
        ],
    );
    attempt["properties"]["effect"] = json!({ "type": "string", "description": "The effect that failed; absent if the message is at fault." });
    json!({
        "FailedAttempt": attempt,
        "LetterSubject": object("What the event of a dead letter is about.", vec![
            ("kind", text(), "The kind of subject, such as `task`."),
            ("id", number(), "Its id."),
            ("version", maybe(number()), "Its version after the change, if the body says so."),
        ]),
        "DeadLetter": object("A message that could not be processed.", vec![
            ("id", text(), "Tells it from the others."),
            ("state", one_of(&["open", "replaying", "replayed", "failed again", "replaced", "discarded"]), "What has become of it."),
            ("fingerprint", text(), "What it has in common with letters of the same cause."),
            ("eventId", maybe(text()), "Its event, if it has one."),
            ("type", maybe(text()), "Its event's type, if it has one."),
            ("subject", maybe(schema("LetterSubject")), "What its event is about, if that is known."),
            ("taskId", maybe(number()), "The task that its event is about."),
            ("reason", text(), "Why it is a dead letter."),
            ("error", maybe(text()), "The error that made it one."),
            ("attempts", number(), "How many attempts it had."),
            ("firstFailedAt", maybe(time()), "When the first attempt failed."),
            ("diedAt", maybe(time()), "When it became a dead letter, or was found to be one."),
            ("replayOf", maybe(text()), "The letter that it was before it was replayed."),
            ("settledAt", maybe(time()), "When it was settled."),
            ("settledBy", maybe(text()), "Who settled it."),
            ("history", list(schema("FailedAttempt")), "The failed attempts that it carries."),
            ("headers", json!({ "type": "object", "additionalProperties": {} }), "All its headers."),
            ("body", json!({}), "Its body: JSON if it is JSON, or else text."),
        ]),
        "DeadLetterPage": page("A page of dead letters.", "DeadLetter", vec![
            ("total", number(), "How many pass the filters on all pages."),
        ]),
        "DeadLetterGroup": object("The open letters of one cause.", vec![
            ("fingerprint", text(), "What they have in common."),
            ("count", number(), "How many there are."),
            ("firstAt", time(), "When the first of them died."),
            ("lastAt", time(), "When the last of them died."),
            ("growing", flag(), "Whether one has died in the last five minutes."),
            ("effect", maybe(text()), "The effect that failed, as `NAME` or `NAME/TARGET`."),
            ("type", maybe(text()), "The event type."),
            ("reason", text(), "Why they are dead letters."),
            ("error", text(), "The error, without what differs between them."),
            ("sample", maybe(schema("DeadLetter")), "One of them, whole."),
        ]),
        "DeadLetterGroups": all("Causes of dead letters.", "DeadLetterGroup"),
        "Discarded": object("What was discarded.", vec![
            ("count", number(), "How many letters, or how many there are to discard."),
            ("notFound", list(text()), "Ids that no open letter has."),
        ]),
        "Edited": object("The event that takes the place of a letter.", vec![
            ("eventId", maybe(text()), "Its id; null of a dry run."),
            ("causationId", maybe(text()), "The event that it follows from, if the letter's can be read."),
            ("doneBefore", list(text()), "Effects that are not run for it, because they are done."),
        ]),
    })
}

pub(super) fn replays() -> Value {
    let count = |name, says| (name, number(), says);
    json!({
        "Replay": object("A replay, and how far it has come.", vec![
            count("id", "Its id."),
            ("state", one_of(&["canary", "running", "stopping", "stopped", "done"]), "How far it is."),
            ("reason", maybe(text()), "Why it stopped."),
            ("carriedOut", flag(), "Whether a worker carries it out at this moment."),
            ("createdAt", time(), "When it was ordered."),
            ("createdBy", text(), "By whom."),
            ("endedAt", maybe(time()), "When it ended."),
            ("selection", json!({ "type": "object", "additionalProperties": {} }), "The filter that chose its letters."),
            count("canary", "How many letters go first."),
            ("rate", maybe(number()), "Letters a second."),
            ("maxFailures", maybe(number()), "After how many letters that failed again it stops."),
            count("total", "How many letters it has."),
            count("waiting", "How many have not been sent."),
            count("sent", "How many have been sent, and whose effects are not finished."),
            count("done", "How many are done."),
            count("failedAgain", "How many have failed again."),
            count("alreadyDone", "How many were done before."),
            count("putBack", "How many others have dealt with while it was stopped."),
        ]),
        "Replays": all("Replays, newest first.", "Replay"),
        "Forecast": object("What a replay does with the letters of one cause.", vec![
            ("fingerprint", text(), "The cause."),
            ("error", text(), "The error, without what differs."),
            count("letters", "How many letters have it."),
            count("alreadyDone", "How many of them are done already: nothing is sent for these."),
            count("hopeless", "How many are certain to fail again."),
        ]),
        "ReplayAnswer": object("What a replay will do, or would do.", vec![
            ("forecast", list(schema("Forecast")), "By cause."),
            ("notFound", list(text()), "Ids that no open letter has."),
            ("replay", maybe(schema("Replay")), "The plan; null of a dry run, and if there is no letter."),
        ]),
    })
}
