//! `/docs/events`: the AsyncAPI document as a page.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use actix_web::web::Data;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::AsyncDocument;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:0 auto;padding:1rem;\
                     background:Canvas;color:CanvasText}:root{color-scheme:light dark}pre{overflow:auto;padding:.75rem;\
                     border:1px solid GrayText;border-radius:6px}h2{margin-top:2.5rem}dt{font-weight:600}\
                     dd{margin:0 0 .5rem}code,pre{font-family:ui-monospace,monospace;overflow-wrap:anywhere}";

/// What the page may load: nothing but its own style.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; frame-ancestors 'none'"
    )
});

pub(super) async fn show(document: Data<AsyncDocument>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY.as_str()))
        .body(page(&document.value).into_string())
}

fn page(document: &Value) -> Markup {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let members = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let channels = members(&document["channels"]);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "Events · taskd" }
                meta name="viewport" content="width=device-width, initial-scale=1";
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "Events" }
                    p { (text(&document["info"]["description"])) }
                    p { "For programs: " a href="/asyncapi.json" { "AsyncAPI" } ", and " a href="/docs/" { "the routes" } "." }
                    h2 { "Where they are" }
                    @if document["servers"]["broker"].is_null() {
                        p { "The broker is inside the database, so no other program can read its queues; whoever has a token can follow the changes. With RabbitMQ there are queues, and with EVENTS_EXCHANGE an exchange for others." }
                    }
                    dl {
                        @for (name, channel) in &channels {
                            dt { code { (name) } }
                            dd {
                                (text(&channel["description"]))
                                @if let Some(keys) = channel["parameters"]["routingKey"]["enum"].as_array() {
                                    " Routing keys: "
                                    @for (number, key) in keys.iter().enumerate() {
                                        @if number > 0 { ", " }
                                        code { (text(key)) }
                                    }
                                    "."
                                }
                            }
                        }
                    }
                    // Those for others have the same bodies, and headers beside them.
                    @for (name, message) in members(&document["components"]["messages"]) {
                        h2 id=(name) { (name) }
                        p { (text(&message["summary"])) }
                        @for (name, value) in members(&message["examples"][0]["headers"]) {
                            code { (name) ": " (text(&value)) } br;
                        }
                        pre tabindex="0" { (format!("{:#}", message["examples"][0]["payload"])) }
                        @if !name.ends_with(".change") {
                            p { a href={ "/schemas/" (text(&message["name"])) } { "The schema" } }
                        }
                    }
                }
            }
        }
    }
}
