//! `/audit`: what operators did, and who tried to sign in; for admins and viewers.

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use serde_json::{Value, json};

use crate::http::AppState;
use crate::http::describe::{answer, for_viewers, schema};
use crate::http::error::ApiError;
use crate::http::extract::fields::{Fields, FromFields, Params};
use crate::http::extract::moment::moment;
use crate::http::extract::paging::{self, cursor};
use crate::http::route::{Need, Route};
use crate::operate::AuditEntry;
use crate::store::letters::audit::{self, AuditFilter, AuditRow};

/// The route of the audit log.
pub(in crate::http) static ROUTES: &[Route] =
    &[Route::plain_get("/audit", Need::Operation, || web::route().to(list), operation)
        .says(
            "What operators and admins did, newest first: who, what, to what, by which way, and \
            with which details.",
        )
        .reads_parameters()];

fn operation() -> Option<Value> {
    let parameter = |name: &str, description: &str, example: &str| {
        json!({ "name": name, "in": "query", "description": description,
                "schema": { "type": "string" }, "example": example })
    };
    let more = json!({ "parameters": [
        parameter("action", "Only this action.", "replay"),
        parameter("actor", "Only by this actor.", "user 1"),
        parameter("since", "Only since this time (RFC 3339).", "2026-01-01T00:00:00Z"),
        { "name": "cursor", "in": "query", "description": "`nextCursor` of the page before.", "schema": { "type": "string" } },
        parameter("limit", "How many at most.", "20"),
    ] });
    let summary = "What operators did, and who tried to sign in, newest first";
    for_viewers(
        "listAudit",
        summary,
        more,
        answer("A page", "application/json", schema("AuditPage")),
    )
}

struct AuditParams {
    filter: AuditFilter,
    before: Option<i64>,
    limit: Option<i64>,
}

impl FromFields for AuditParams {
    fn from_fields(fields: &mut Fields) -> AuditParams {
        let text = |text: &str| (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned());
        AuditParams {
            filter: AuditFilter {
                action: fields.parameter("action", "the name of an action", text),
                actor: fields.parameter("actor", "the name of an actor", text),
                since: fields.parameter("since", "an RFC 3339 time", moment),
            },
            before: cursor(fields, |id: &i64| *id > 0),
            limit: paging::limit(fields),
        }
    }
}

async fn list(
    state: Data<AppState>,
    params: Params<AuditParams>,
) -> Result<HttpResponse, ApiError> {
    let AuditParams { filter, before, limit } = params.0;
    let rows = paging::rows(limit);
    let mut connection = state.store.connection().await?;
    let found = audit::list(&mut connection, &filter, before, rows).await?;
    let (rows, next) = paging::page(found, rows, |row: &AuditRow| row.id);
    let data: Vec<AuditEntry> = rows.into_iter().map(AuditEntry::from).collect();
    Ok(HttpResponse::Ok().json(json!({ "data": data, "nextCursor": next })))
}
