//! The documents about the API: OpenAPI, Swagger UI and the event schemas.

mod events;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use actix_web::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION, VARY};
use actix_web::web::{self, Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};
use utoipa_swagger_ui::Config;

use crate::http::AppState;
use crate::http::describe::{DOCUMENTS, answer, problem};
use crate::http::error::ApiError;
use crate::http::route::{Need, Route};

/// The OpenAPI document, encoded.
pub struct Document(pub Bytes);

/// The AsyncAPI document, as it is and encoded.
pub struct AsyncDocument {
    /// For the page.
    pub value: Value,
    /// For programs.
    pub bytes: Bytes,
}

impl AsyncDocument {
    /// This document.
    pub fn new(value: Value) -> AsyncDocument {
        AsyncDocument { bytes: value.to_string().into(), value }
    }
}

/// A file of Swagger UI. All responses share its bytes, so one that a client doesn't read costs no
/// copy.
#[derive(Clone)]
struct Asset {
    bytes: Bytes,
    content_type: String,
    is_packed: bool,
}

/// The routes of documents. They use the [`Document`] in the app's data.
pub(super) static ROUTES: &[Route] = &[
    Route::plain_get(
        "/",
        Need::Nothing,
        || web::route().to(index),
        || {
            Some(json!({
                "operationId": "index", "tags": [DOCUMENTS], "summary": "What there is here",
                "responses": {
                    "200": answer("Where everything is", "application/json", json!({ "type": "object" })),
                    "302": { "description": "To the documentation, for a browser" },
                },
            }))
        },
    ).says(
            "Names the parts of this API and where they are. A browser is led to the console, or \
            to the documentation where there is no console.",
        ),
    Route::plain_get(
        "/openapi.json",
        Need::Nothing,
        || web::route().to(openapi),
        || {
            Some(json!({
                "operationId": "openapi", "tags": [DOCUMENTS], "summary": "This document",
                "responses": {
                    "200": answer("OpenAPI 3.0", "application/json", json!({ "type": "object" })),
                },
            }))
        },
    ).says("The OpenAPI 3.0 document of exactly this process, made from its routes."),
    Route::plain_get(
        "/docs",
        Need::Nothing,
        || web::route().to(to_docs),
        // It only leads on, to the page with this document.
        || None,
    ),
    Route::plain_get(
        "/asyncapi.json",
        Need::Nothing,
        || web::route().to(asyncapi),
        || {
            Some(json!({
                "operationId": "asyncapi", "tags": [DOCUMENTS], "summary": "Where events are, and what they look like",
                "responses": {
                    "200": answer("AsyncAPI 3.1", "application/json", json!({ "type": "object" })),
                },
            }))
        },
    )
    .says("The queues and the exchange of this installation, and each type of event with its schema and an example."),
    Route::plain_get(
        "/docs/events",
        Need::Nothing,
        || web::route().to(events::show),
        || {
            Some(json!({
                "operationId": "eventsPage", "tags": [DOCUMENTS], "summary": "The same, as a page",
                "responses": { "200": answer("A page", "text/html", json!({ "type": "string" })) },
            }))
        },
    )
    .says("For people. It loads nothing and needs no script."),
    Route::plain_get("/docs/{file:.*}", Need::Nothing, || web::route().to(swagger_ui), || None),
    Route::plain_get(
        "/schemas/{type}",
        Need::Nothing,
        || web::route().to(schema),
        || {
            Some(json!({
                "operationId": "getSchema", "tags": [DOCUMENTS],
                "summary": "The JSON Schema of an event type",
                "parameters": [{
                    "name": "type", "in": "path", "required": true,
                    "schema": { "type": "string", "example": "TASK_CREATED" },
                }],
                "responses": {
                    "200": answer("JSON Schema 2020-12", "application/schema+json", json!({ "type": "object" })),
                    "404": problem("There is no such event type"),
                },
            }))
        },
    ).says(
            "A JSON Schema (draft 2020-12) by which messages of this type are checked, and which \
            others can check by.",
        ),
];

/// Whether a client asks for a page.
pub(in crate::http) fn is_browser(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|media_type| {
        let name = media_type.split(';').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("text/html")
    })
}

/// Redirects a browser to the documentation, unless the console has taken it; and tells other
/// clients what there is.
async fn index(request: HttpRequest, state: Data<AppState>) -> HttpResponse {
    let is_browser = is_browser(request.headers());
    let mut response = match is_browser {
        true => HttpResponse::Found(),
        false => HttpResponse::Ok(),
    };
    response.insert_header((VARY, "Accept"));
    if is_browser {
        return response.insert_header((LOCATION, "/docs/")).finish();
    }
    let schemas: Vec<String> =
        state.common.event_types.iter().map(|known| format!("/schemas/{}", known.name)).collect();
    response.json(json!({
        "name": "taskd",
        "version": env!("CARGO_PKG_VERSION"),
        "console": state.common.console.is_some().then_some("/console"),
        "documentation": "/docs",
        "openapi": "/openapi.json",
        "asyncapi": "/asyncapi.json",
        "schemas": schemas,
        "tasks": "/tasks",
        "users": "/users",
        "categories": "/categories",
        "events": "/events",
        "health": "/healthz",
        "readiness": "/readyz",
        "metrics": "/metrics",
    }))
}

async fn openapi(document: Data<Document>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document.0.clone())
}

async fn asyncapi(document: Data<AsyncDocument>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document.bytes.clone())
}

/// The page refers to its assets by relative paths, so the slash matters.
async fn to_docs() -> HttpResponse {
    HttpResponse::Found().insert_header((LOCATION, "/docs/")).finish()
}

async fn swagger_ui(file: Path<String>) -> Result<HttpResponse, ApiError> {
    let asset = asset(&file)?.ok_or(ApiError::RouteNotFound)?;
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, asset.content_type));
    if asset.is_packed {
        response.insert_header((CONTENT_ENCODING, "gzip"));
    }
    Ok(response.body(asset.bytes))
}

fn asset(file: &str) -> Result<Option<Asset>, ApiError> {
    static CONFIG: LazyLock<Arc<Config<'static>>> =
        LazyLock::new(|| Arc::new(Config::new(["/openapi.json"]).try_it_out_enabled(true)));
    // As many as there are files: unknown names are not cached.
    static ASSETS: LazyLock<RwLock<HashMap<String, Asset>>> = LazyLock::new(RwLock::default);
    if let Some(asset) = ASSETS.read().unwrap_or_else(PoisonError::into_inner).get(file) {
        return Ok(Some(asset.clone()));
    }
    match utoipa_swagger_ui::serve(file, Arc::clone(&CONFIG)) {
        Ok(Some(found)) => {
            let mut bytes = found.bytes.into_owned();
            if found.content_type.starts_with("text/html") && !found.gzpipped {
                let page = String::from_utf8_lossy(&bytes);
                bytes =
                    page.replace("<title>Swagger UI</title>", "<title>taskd</title>").into_bytes();
            }
            let asset = Asset {
                bytes: Bytes::from(bytes),
                content_type: found.content_type,
                is_packed: found.gzpipped,
            };
            let mut assets = ASSETS.write().unwrap_or_else(PoisonError::into_inner);
            Ok(Some(assets.entry(file.to_owned()).or_insert(asset).clone()))
        }
        Ok(None) => Ok(None),
        Err(error) => {
            tracing::error!(%error, "Swagger UI can't be served");
            Err(ApiError::Internal)
        }
    }
}

async fn schema(name: Path<String>, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let schema = state.common.event_types.schema(&name).ok_or(ApiError::NotFound("event type"))?;
    let schema = format!("{schema:#}\n");
    Ok(HttpResponse::Ok().content_type("application/schema+json").body(schema))
}
