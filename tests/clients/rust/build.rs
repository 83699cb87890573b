//! Makes the client from the document that OPENAPI names.
//!
//! The generator knows one media type for each body and one kind of success for each operation; of what the
//! document has besides, JSON and the first success are taken. A problem document is JSON to it.

use std::path::Path;

use serde_json::{Map, Value};

fn main() {
    let document = std::env::var("OPENAPI").expect("OPENAPI, the path of the document");
    println!("cargo:rerun-if-env-changed=OPENAPI");
    println!("cargo:rerun-if-changed={document}");
    let text = std::fs::read_to_string(document).expect("the document can be read");
    let mut document: Value = serde_json::from_str(&text).expect("the document is JSON");
    let paths = document["paths"].as_object_mut().expect("it has paths");
    for operation in paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        simplify(operation);
    }
    let specification: openapiv3::OpenAPI = serde_json::from_value(document).expect("it is OpenAPI 3.0");
    let tokens = progenitor::Generator::default().generate_tokens(&specification).expect("a client");
    let code = prettyplease::unparse(&syn::parse2(tokens).expect("the client is Rust"));
    let out = std::env::var("OUT_DIR").expect("OUT_DIR, which cargo sets");
    std::fs::write(Path::new(&out).join("client.rs"), code).expect("the client can be written");
}

fn simplify(operation: &mut Value) {
    if let Some(content) = operation.pointer_mut("/requestBody/content") {
        *content = serde_json::json!({ "application/json": content["application/json"] });
    }
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    let success = responses.keys().filter(|status| status.starts_with('2')).min().cloned();
    responses.retain(|status, response| {
        let content = response.get_mut("content").and_then(Value::as_object_mut);
        let problem = content.and_then(|content| {
            let problem = content.remove("application/problem+json");
            content.retain(|media_type, _| media_type == "application/json");
            content.extend(problem.clone().map(|problem| ("application/json".to_owned(), problem)));
            problem
        });
        Some(status) == success.as_ref() || problem.is_some() && status.as_str() >= "400"
    });
}
