//! The documents about the API: OpenAPI, Swagger UI, the event schemas.

use std::sync::{Arc, LazyLock};

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use actix_web::web::{self, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use utoipa_swagger_ui::Config;

use crate::domain::event::EventType;
use crate::domain::schemas;
use crate::http::error::ApiError;

/// The OpenAPI document, as it is served.
pub struct Document(pub String);

/// Adds the routes; they answer from a [`Document`] in the app's data.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(super::only_get("/openapi.json", web::get().to(openapi)))
        .service(super::only_get("/docs", web::get().to(to_docs)))
        .service(super::only_get("/docs/{file:.*}", web::get().to(swagger_ui)))
        .service(super::only_get("/schemas/{type}", web::get().to(schema)));
}

async fn openapi(document: Data<Document>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document.0.clone())
}

/// The page refers to its assets by relative paths.
async fn to_docs() -> HttpResponse {
    HttpResponse::Found().insert_header((LOCATION, "/docs/")).finish()
}

async fn swagger_ui(file: Path<String>, _request: HttpRequest) -> Result<HttpResponse, ApiError> {
    static CONFIG: LazyLock<Arc<Config<'static>>> =
        LazyLock::new(|| Arc::new(Config::new(["/openapi.json"]).try_it_out_enabled(true)));
    match utoipa_swagger_ui::serve(&file, Arc::clone(&CONFIG)) {
        Ok(Some(asset)) => {
            let mut response = HttpResponse::Ok();
            response.insert_header((CONTENT_TYPE, asset.content_type));
            if asset.gzpipped {
                response.insert_header((CONTENT_ENCODING, "gzip"));
            }
            Ok(response.body(asset.bytes.into_owned()))
        }
        Ok(None) => Err(ApiError::RouteNotFound),
        Err(error) => {
            tracing::error!(%error, "Swagger UI can't be served");
            Err(ApiError::Internal)
        }
    }
}

async fn schema(name: Path<String>) -> Result<HttpResponse, ApiError> {
    let event_type = EventType::from_name(&name).ok_or(ApiError::NotFound("event type"))?;
    Ok(HttpResponse::Ok().content_type("application/schema+json").body(schemas::text(event_type)))
}
