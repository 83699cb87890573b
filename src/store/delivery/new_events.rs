//! The one way in which an event gets into the outbox: within the statement that makes the change.

use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::domain::event::{Actor, ActorKind, NewEvent, Origin};
use crate::store::delivery::outbox::Lease;
use crate::store::sql::Statement;

/// What an event brings along, by the names of its columns in a source for [`insert`]. The id of
/// the subject is not among them: the database may have to assign it.
pub(in crate::store) const COLUMNS: &str = "event_id, type, subject_kind, subject_version, payload, occurred_at, \
     actor_kind, actor_id, causation_id, user_before, user_after, request_id, traceparent";

/// How many columns that are.
pub(in crate::store) const COLUMN_COUNT: usize = 13;

/// The end of a statement that makes a change: inserts the event of each row of `source`, which has
/// the [`COLUMNS`]. `subject_id` and `payload` are expressions over that row. The parameters
/// `lease` and `lease + 1` are the lease: see [`bind_lease`]. Returns rows of `event_id` and
/// `subject_id`.
///
/// The columns `task_id` and `task_version` have the id and the version of the subject, whatever
/// its kind. They could not be renamed while processes of the version before insert under these
/// names.
pub(in crate::store) fn insert(
    source: &str,
    subject_id: &str,
    payload: &str,
    lease: usize,
) -> String {
    format!(
        "INSERT INTO events (id, type, subject_kind, task_id, task_version, payload, occurred_at,
                             actor_kind, actor_id, causation_id, user_before, user_after,
                             request_id, traceparent, lease_owner, leased_until)
         SELECT event_id, type, subject_kind, {subject_id}, subject_version, {payload}, occurred_at,
                actor_kind, actor_id, causation_id, user_before, user_after,
                request_id, traceparent, ${lease}, now() + ${until} * interval '1 ms'
         FROM {source}
         RETURNING id AS event_id, task_id AS subject_id",
        until = lease + 1
    )
}

/// Binds an array for each of the [`COLUMNS`].
pub(in crate::store) fn bind_all<'a>(
    statement: Statement,
    events: impl Iterator<Item = &'a NewEvent> + Clone,
) -> Statement {
    macro_rules! each {
        (|$event:ident| $value:expr) => {
            events.clone().map(|$event: &NewEvent| $value).collect::<Vec<_>>()
        };
    }
    statement
        .bind::<Array<SqlUuid>, _>(each!(|e| e.id))
        .bind::<Array<Text>, _>(each!(|e| e.event_type.name))
        .bind::<Array<Text>, _>(each!(|e| e.subject.kind))
        .bind::<Array<BigInt>, _>(each!(|e| e.subject.version))
        .bind::<Array<Jsonb>, _>(each!(|e| e.payload.clone()))
        .bind::<Array<Timestamptz>, _>(each!(|e| e.occurred_at))
        .bind::<Array<Text>, _>(each!(|e| e.origin.actor.kind.as_str()))
        .bind::<Array<Nullable<BigInt>>, _>(each!(|e| e.origin.actor.id))
        .bind::<Array<Nullable<SqlUuid>>, _>(each!(|e| e.origin.causation_id))
        .bind::<Array<Nullable<BigInt>>, _>(each!(|e| e.owners.before))
        .bind::<Array<Nullable<BigInt>>, _>(each!(|e| e.owners.after))
        .bind::<Array<Nullable<Text>>, _>(each!(|e| e.origin.request_id().map(str::to_owned)))
        .bind::<Array<Nullable<Text>>, _>(each!(|e| e.origin.traceparent().map(str::to_owned)))
}

/// Binds a value for each of the [`COLUMNS`].
pub(in crate::store) fn bind(statement: Statement, event: &NewEvent) -> Statement {
    statement
        .bind::<SqlUuid, _>(event.id)
        .bind::<Text, _>(event.event_type.name)
        .bind::<Text, _>(event.subject.kind)
        .bind::<BigInt, _>(event.subject.version)
        .bind::<Jsonb, _>(event.payload.clone())
        .bind::<Timestamptz, _>(event.occurred_at)
        .bind::<Text, _>(event.origin.actor.kind.as_str())
        .bind::<Nullable<BigInt>, _>(event.origin.actor.id)
        .bind::<Nullable<SqlUuid>, _>(event.origin.causation_id)
        .bind::<Nullable<BigInt>, _>(event.owners.before)
        .bind::<Nullable<BigInt>, _>(event.owners.after)
        .bind::<Nullable<Text>, _>(event.origin.request_id().map(str::to_owned))
        .bind::<Nullable<Text>, _>(event.origin.traceparent().map(str::to_owned))
}

/// A source of one event, whose columns are the parameters from `first` on. `change` is the row
/// that was changed, with its `id`: without it there is no event.
pub(in crate::store) fn one(first: usize, change: &str) -> String {
    let columns = COLUMNS.split(", ").zip(first..);
    let columns: Vec<String> = columns.map(|(name, n)| format!("${n} AS {name}")).collect();
    format!("(SELECT id, {} FROM {change}) AS event", columns.join(", "))
}

/// Binds the owner and the length of a lease, or nulls if there is none.
pub(in crate::store) fn bind_lease(statement: Statement, lease: Option<Lease>) -> Statement {
    statement
        .bind::<Nullable<SqlUuid>, _>(lease.map(|lease| lease.owner))
        .bind::<Nullable<BigInt>, _>(lease.map(Lease::milliseconds))
}

/// The origin of an event, from its columns.
pub(in crate::store) fn origin(
    actor_kind: Option<&str>,
    actor_id: Option<i64>,
    causation_id: Option<Uuid>,
) -> Option<Origin> {
    // A check constraint allows no other names.
    let kind = ActorKind::from_name(actor_kind?)?;
    Some(Origin { actor: Actor { kind, id: actor_id }, causation_id, request: None })
}
