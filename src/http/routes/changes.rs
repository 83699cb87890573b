//! `/changes`: the change feed, in pages and as a stream.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::Stream;
use paperclip::actix::{Apiv2Schema, api_v2_operation, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::access::{Caller, Tokens};
use crate::domain::catalog;
use crate::feed::{self, Follower, Since, View, page};
use crate::ground::shutdown::Shutdown;
use crate::http::AppState;
use crate::http::describe::answer;
use crate::http::dto::ChangePage;
use crate::http::error::{ApiError, Fault, RequestPart};
use crate::http::extract::fields::{Fields, FromFields, Params};
use crate::http::extract::paging::read_id;
use crate::http::middleware::admission::Bearer;
use crate::http::middleware::observe::Stopping;
use crate::http::response::{JsonResponse, SILENCE, encode, event_stream};
use crate::http::route::{Need, Route};

/// The routes of the change feed.
pub(super) static ROUTES: &[Route] = &[
    Route::get("/changes", Need::Token, || web::Route::new().to(list))
        .says(
            "Each event that the caller may see, once, the versions of a task in order. Begin \
            with `since=now`, or without `since` at the oldest event that is kept; go on with \
            `nextCursor`, which is never null. A page may be empty or short and yet not be the \
            last. To a member a task that is given to somebody else is told as `removed`. 410 \
            says that the cursor is older than what is kept, or of another database.",
        )
        .reads_parameters()
        .fails_with(|| vec![ApiError::CursorGone("")]),
    Route::plain_get(
        "/changes/stream",
        Need::Token,
        || actix_web::web::get().to(stream),
        described,
    )
    .reads_parameters()
    .fails_with(|| vec![ApiError::CursorGone("")])
    .says(
        "The same as server-sent events: `data` is the event, and `id` the cursor after it, which \
        an `EventSource` sends as `Last-Event-ID` when it connects again. A comment comes after \
        15 seconds of silence. Who takes too little for too long is cut off, and goes on elsewhere \
        from its cursor.",
    ),
];

/// How many entries a page has at most, and by default.
pub(in crate::http) const MOST: i64 = 1_000;
pub(in crate::http) const USUAL: i64 = 100;
/// The header by which a client says what it was told last.
const LAST_EVENT_ID: &str = "Last-Event-ID";
/// How often a stream checks whether its reader may still read.
const RECHECK: Duration = Duration::from_secs(5);

#[api_v2_operation(
    operation_id = "listChanges",
    tags("changes"),
    summary = "Follow what changes, in pages"
)]
pub async fn list(
    state: Data<AppState>,
    caller: Caller,
    params: Params<ChangesParams>,
) -> Result<JsonResponse<ChangePage>, ApiError> {
    let params = params.0;
    let view = View::new(caller.confined_to(), params.names);
    let limit = usize::try_from(params.limit.unwrap_or(USUAL)).unwrap_or(1);
    let mut connection = state.store.connection().await?;
    let page = page(&mut connection, &params.start, &view, limit).await?;
    drop(connection);
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        data: Vec<Box<RawValue>>,
        next_cursor: String,
    }
    let entries = page.entries.into_iter();
    let data = entries.filter_map(|entry| RawValue::from_string(entry.json).ok()).collect();
    let body = Body { data, next_cursor: feed::write(&page.cursor) };
    Ok(JsonResponse::encoded(encode(&body).into()))
}

/// The parameters of `GET /changes`.
#[derive(Debug, Clone, Apiv2Schema, Deserialize)]
#[expect(dead_code, reason = "some fields are there for the description alone")]
pub struct ChangesParams {
    /// Where to begin: `now`, or a `nextCursor`. Without it, with the oldest event that is kept.
    since: Option<String>,
    /// Only events of these types, with commas between them.
    types: Option<String>,
    /// How many entries the page has at most.
    limit: Option<i64>,
    /// What `since` means.
    #[openapi(skip)]
    #[serde(skip)]
    start: Since,
    /// The types.
    #[openapi(skip)]
    #[serde(skip)]
    names: Vec<&'static str>,
}

impl FromFields for ChangesParams {
    fn from_fields(fields: &mut Fields) -> ChangesParams {
        let Begin { start, names } = Begin::from_fields(fields);
        let expected = format_args!("a whole number from 1 to {MOST}");
        let limit =
            fields.parameter("limit", expected, |text| read_id(text).filter(|n| *n <= MOST));
        ChangesParams { since: None, types: None, limit, start, names }
    }
}

/// Where to begin, and with which types.
#[derive(Debug)]
struct Begin {
    start: Since,
    names: Vec<&'static str>,
}

impl FromFields for Begin {
    fn from_fields(fields: &mut Fields) -> Begin {
        let known = catalog::built_in();
        let all: Vec<&str> = known.iter().map(|known| known.name).collect();
        let expected = format_args!("one or more of {}, with commas between them", all.join(", "));
        let names = fields.parameter("types", expected, |text| {
            text.split(',').map(|name| known.find(name.trim()).map(|found| found.name)).collect()
        });
        let expected = "now, or the nextCursor of a page of changes";
        let start = fields.parameter("since", expected, |text| match text {
            "now" => Some(Since::Now),
            cursor => feed::read(cursor).map(|cursor| Since::After(Box::new(cursor))),
        });
        Begin { start: start.unwrap_or_default(), names: names.unwrap_or_default() }
    }
}

async fn stream(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    bearer: Bearer,
    begin: Params<Begin>,
    stopping: Data<Stopping>,
) -> Result<HttpResponse, ApiError> {
    let Begin { start, names } = begin.0;
    let start = last_event_id(&request)?.unwrap_or(start);
    let view = View::new(caller.confined_to(), names);
    let feed = state.common.feed.clone();
    let (follower, first) = Follower::new(feed, state.store.clone(), start, view).await?;
    let reader = Reader { caller, bearer, tokens: state.tokens.clone() };
    // The cursor comes last: who is cut off before has not been told all.
    let hello = format!("retry: 1000\nid: {}\n\n", follower.cursor());
    let telling = Telling {
        opening: Some([&*first, hello.as_bytes()].concat().into()),
        follower,
        reader,
        shutdown: stopping.0.clone(),
        recheck: Instant::now() + RECHECK,
        silent_since: Instant::now(),
    };
    Ok(event_stream(telling.lines()))
}

/// What the client was told last, on an earlier connection.
fn last_event_id(request: &HttpRequest) -> Result<Option<Since>, ApiError> {
    let Some(value) = request.headers().get(LAST_EVENT_ID) else { return Ok(None) };
    let text = value.to_str().unwrap_or("?");
    if text.is_empty() {
        return Ok(None);
    }
    let cursor = feed::read(text).ok_or_else(|| {
        let message = "must be the id of an event of this stream";
        ApiError::Validation(vec![Fault::new(RequestPart::Header, LAST_EVENT_ID, message)])
    })?;
    Ok(Some(Since::After(Box::new(cursor))))
}

/// Who reads a stream.
struct Reader {
    caller: Caller,
    bearer: Bearer,
    tokens: Tokens,
}

impl Reader {
    /// Whether the token is still valid and shows the same. While the database is away, nothing is
    /// known, and nothing is told either.
    async fn may_still_read(&self) -> bool {
        let Some(token) = &self.bearer.0 else { return true };
        match self.tokens.holder(token.expose()).await {
            Ok(holder) => holder.is_some_and(|holder| {
                Caller::Holder(holder).confined_to() == self.caller.confined_to()
            }),
            Err(_) => true,
        }
    }
}

/// One who is told what changes.
struct Telling {
    opening: Option<Bytes>,
    follower: Follower,
    reader: Reader,
    shutdown: Shutdown,
    recheck: Instant,
    silent_since: Instant,
}

impl Telling {
    fn lines(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        futures_util::stream::unfold(self, |mut telling| async move {
            let text = telling.next().await?;
            telling.silent_since = Instant::now();
            Some((Ok(text), telling))
        })
    }

    /// What is said next; `None` at the end, which is also when the process stops.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(opening) = self.opening.take() {
            return Some(opening);
        }
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.requested() => return None,
                () = sleep_until(self.recheck) => {
                    if !self.reader.may_still_read().await {
                        return None;
                    }
                    self.recheck = Instant::now() + RECHECK;
                }
                told = self.follower.next() => return told.ok(),
                () = sleep_until(self.silent_since + SILENCE) => {
                    // What was not for this reader is behind it as well.
                    let cursor = self.follower.cursor();
                    return Some(format!(": still here\nid: {cursor}\n\n").into());
                }
            }
        }
    }
}

fn described() -> Option<Value> {
    let parameter = |name: &str, place: &str, description: &str| json!({ "name": name, "in": place, "description": description, "schema": { "type": "string" } });
    Some(json!({
        "operationId": "streamChanges", "tags": ["changes"], "summary": "Follow what changes, as it comes",
        "parameters": [
            parameter("since", "query", "Where to begin: `now`, or a cursor. Without it, with the oldest event that is kept."),
            parameter("types", "query", "Only events of these types, with commas between them."),
            parameter(LAST_EVENT_ID, "header", "The `id` that came last; it counts before `since`."),
        ],
        "responses": { "200": answer("Events as they come", "text/event-stream", json!({ "type": "string" })) },
    }))
}
