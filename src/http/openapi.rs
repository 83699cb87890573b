//! The OpenAPI 3.0 document: routes and types by paperclip from the code, and what paperclip's
//! conversion to version 3 leaves out from the tables below. A test holds the tables against the
//! rules that requests are validated by.

use actix_web::App;
use paperclip::actix::OpenApiExt;
use paperclip::v2::models::{DefaultApiRaw, Info, Tag};
use serde_json::{Map, Value, json};

use crate::domain::event::EventType;
use crate::domain::task::Status;
use crate::http::error::{ApiError, PROBLEM_JSON};
use crate::http::fields::BODY_BYTES;
use crate::http::paging::{sort_name, sorts};

/// PostgreSQL has no NUL character in its texts, so neither has the API.
pub const NO_NUL: &str = r"^[^\u0000]*$";
/// The same of a text that must say something.
pub const NOT_BLANK: &str = r"^[^\u0000]*[^\s\u0000][^\u0000]*$";

/// Members of request bodies: schema, member, what holds of it.
pub fn body_rules() -> Vec<(&'static str, &'static str, Value)> {
    let title =
        json!({ "minLength": 1, "maxLength": 200, "pattern": NOT_BLANK, "example": "Write Docs" });
    let description = json!({ "maxLength": 10_000, "pattern": NO_NUL, "nullable": true, "example": "Testing async" });
    let id = json!({ "minimum": 1, "nullable": true, "example": 1 });
    let due = json!({ "format": "date-time", "nullable": true, "example": "2030-01-31T12:00:00Z" });
    let email = json!({ "format": "email", "maxLength": 254, "example": "ada@example.com" });
    let user_name = json!({ "minLength": 1, "maxLength": 100, "pattern": NOT_BLANK, "nullable": true, "example": "Ada" });
    let password = json!({ "minLength": 8, "maxLength": 128, "pattern": NO_NUL, "format": "password", "writeOnly": true, "example": "correct horse" });
    let name = json!({ "minLength": 1, "maxLength": 100, "pattern": NOT_BLANK, "example": "Documentation" });
    let statuses = Status::ALL.map(Status::as_str);
    let status = json!({ "type": "string", "enum": statuses, "example": "in-progress" });
    let mut input_status = status.clone();
    input_status["default"] = json!(Status::default().as_str());
    vec![
        ("TaskInput", "title", title.clone()),
        ("TaskInput", "description", description.clone()),
        ("TaskInput", "status", input_status),
        ("TaskInput", "userId", id.clone()),
        ("TaskInput", "categoryId", id.clone()),
        ("TaskInput", "dueAt", due.clone()),
        ("TaskPatch", "title", title),
        ("TaskPatch", "description", description),
        ("TaskPatch", "status", status),
        ("TaskPatch", "userId", id.clone()),
        ("TaskPatch", "categoryId", id),
        ("TaskPatch", "dueAt", due),
        ("UserInput", "email", email.clone()),
        ("UserInput", "name", user_name.clone()),
        ("UserInput", "password", password.clone()),
        ("UserPatch", "email", email),
        ("UserPatch", "name", user_name),
        ("UserPatch", "password", password),
        ("CategoryInput", "name", name.clone()),
        ("CategoryPatch", "name", name),
    ]
}

/// Which members a request body must have.
const REQUIRED: [(&str, &[&str]); 6] = [
    ("TaskInput", &["title"]),
    ("TaskPatch", &[]),
    ("UserInput", &["email", "password"]),
    ("UserPatch", &[]),
    ("CategoryInput", &["name"]),
    ("CategoryPatch", &[]),
];

/// Pages, and what their rows are.
const PAGES: [(&str, &str); 4] = [
    ("TaskPage", "Task"),
    ("UserPage", "User"),
    ("CategoryPage", "Category"),
    ("ActivityPage", "Activity"),
];

/// Members of answers that may be null; every member is always there but `total`.
const NULLABLE: [(&str, &str); 11] = [
    ("Task", "description"),
    ("Task", "userId"),
    ("Task", "categoryId"),
    ("Task", "dueAt"),
    ("Task", "completedAt"),
    ("User", "name"),
    ("Activity", "changes"),
    ("TaskPage", "nextCursor"),
    ("UserPage", "nextCursor"),
    ("CategoryPage", "nextCursor"),
    ("ActivityPage", "nextCursor"),
];

/// Query parameters, by name.
pub fn parameter_rules() -> Vec<(&'static str, Value)> {
    let id = json!({ "type": "integer", "format": "int64", "minimum": 1 });
    let time = json!({ "type": "string", "format": "date-time" });
    let sorts: Vec<String> = sorts().map(sort_name).collect();
    vec![
        ("limit", json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 20 })),
        ("cursor", json!({ "type": "string", "minLength": 1, "maxLength": 4096 })),
        ("total", json!({ "type": "boolean", "default": false })),
        ("status", json!({ "type": "string", "enum": Status::ALL.map(Status::as_str) })),
        ("userId", id.clone()),
        ("categoryId", id),
        (
            "search",
            json!({ "type": "string", "minLength": 1, "maxLength": 200, "pattern": NO_NUL }),
        ),
        ("dueBefore", time.clone()),
        ("dueAfter", time),
        ("sort", json!({ "type": "string", "enum": sorts, "default": "-createdAt" })),
    ]
}

/// The document.
pub fn document() -> Value {
    let mut document = Value::Null;
    let spec = DefaultApiRaw {
        info: Info {
            version: env!("CARGO_PKG_VERSION").into(),
            title: "taskd".into(),
            description: Some(
                "Tasks, users and categories. Every change of a task becomes an event; what workers \
                 did about it shows in the task's activity."
                    .into(),
            ),
            ..Info::default()
        },
        tags: [("tasks", "Tasks and what happened to them"), ("users", "Who tasks are for"), ("categories", "What tasks are about")]
            .map(|(name, text)| Tag { name: name.into(), description: Some(text.into()), external_docs: None })
            .into(),
        ..DefaultApiRaw::default()
    };
    // The app is built for its description alone.
    let _ = App::new().wrap_api_with_spec(spec).configure(super::api).with_raw_json_spec_v3(
        |app, spec| {
            document = spec;
            app
        },
    );
    complete(&mut document);
    document
}

fn complete(document: &mut Value) {
    document["openapi"] = json!("3.0.3");
    document["servers"] = json!([{ "url": "/" }]);
    let schemas = &mut document["components"]["schemas"];
    for (page, item) in PAGES {
        // paperclip writes the row's schema out within the page's.
        let row = schemas[page]["properties"]["data"]["items"].take();
        schemas[page]["properties"]["data"]["items"] =
            json!({ "$ref": format!("#/components/schemas/{item}") });
        if schemas[item].is_null() {
            schemas[item] = row;
        }
    }
    for (schema, member, rules) in body_rules() {
        rule(&mut schemas[schema]["properties"][member], rules);
    }
    for (schema, required) in REQUIRED {
        schemas[schema]["additionalProperties"] = json!(false);
        if let Some(schema) = schemas[schema].as_object_mut() {
            schema.remove("required");
            if !required.is_empty() {
                schema.insert("required".into(), json!(required));
            }
        }
    }
    for schema in PAGES.iter().flat_map(|(page, item)| [*page, *item]) {
        let members = schemas[schema]["properties"].as_object().cloned().unwrap_or_default();
        let always: Vec<&String> = members.keys().filter(|name| *name != "total").collect();
        schemas[schema]["required"] = json!(always);
    }
    rule(
        &mut schemas["Task"]["properties"]["status"],
        json!({ "type": "string", "enum": Status::ALL.map(Status::as_str) }),
    );
    schemas["Activity"]["properties"]["type"]["enum"] =
        json!(EventType::ALL.map(EventType::as_str));
    schemas["Activity"]["properties"]["changes"] = json!({
        "type": "object", "nullable": true,
        "description": "For an update, the fields that changed.",
        "additionalProperties": { "type": "object", "required": ["from", "to"], "properties": {
            "from": { "nullable": true, "description": "Before" }, "to": { "nullable": true, "description": "After" } } },
    });
    for (schema, member) in NULLABLE {
        schemas[schema]["properties"][member]["nullable"] = json!(true);
    }
    merge(schemas, json!({ "Problem": problem_schema() }));
    let rules: Map<String, Value> =
        parameter_rules().into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            complete_operation(path, method, operation, &rules);
        }
    }
}

fn complete_operation(path: &str, method: &str, operation: &mut Value, rules: &Map<String, Value>) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default().to_owned();
        if parameter["in"] == "path" {
            parameter["schema"] = json!({ "type": "integer", "format": "int64", "minimum": 1 });
        } else if let Some(rules) = rules.get(&name) {
            parameter["schema"] = rules.clone();
            parameter["required"] = json!(false);
        }
    }
    let has_body = operation.get("requestBody").is_some();
    if has_body {
        operation["requestBody"]["required"] = json!(true);
        if method == "patch" {
            let content = &mut operation["requestBody"]["content"];
            let schema = content["application/json"].clone();
            content["application/merge-patch+json"] = schema;
        }
    }
    if method == "post" {
        operation["responses"]["201"]["headers"] = json!({
            "Location": { "description": "The path of what was made", "schema": { "type": "string" } }
        });
    }
    let mut errors = vec![
        ApiError::Validation(Vec::new()),
        ApiError::Timeout,
        ApiError::Unavailable,
        ApiError::Internal,
    ];
    if path.contains("{id}") {
        errors.push(ApiError::NotFound("thing"));
    }
    if has_body {
        errors.push(ApiError::MalformedJson(String::new()));
        errors.push(ApiError::UnsupportedMediaType(""));
        errors.push(ApiError::UnsupportedEncoding);
        errors.push(ApiError::SlowBody);
        errors.push(ApiError::PayloadTooLarge(BODY_BYTES));
    }
    match (path, method) {
        ("/users" | "/users/{id}", "post" | "patch") => errors.push(ApiError::EmailTaken),
        ("/categories" | "/categories/{id}", "post" | "patch") => {
            errors.push(ApiError::CategoryNameTaken)
        }
        ("/tasks" | "/tasks/{id}", "post" | "put" | "patch" | "delete") => {
            errors.push(ApiError::WriteConflict)
        }
        _ => {}
    }
    for error in errors {
        let (status, code, title) = error.kind();
        let responses = &mut operation["responses"];
        let described = match responses[status.as_str()]["description"].as_str() {
            Some(other) => format!("{other}; {title} (`{code}`)"),
            None => format!("{title} (`{code}`)"),
        };
        let mut response = json!({
            "description": described,
            "content": { PROBLEM_JSON: { "schema": { "$ref": "#/components/schemas/Problem" } } },
        });
        if matches!(error, ApiError::Unavailable | ApiError::WriteConflict) {
            response["headers"] = json!({
                "Retry-After": { "description": "Seconds to wait", "schema": { "type": "integer" } }
            });
        }
        responses[status.as_str()] = response;
    }
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "A problem document (RFC 9457).",
        "required": ["type", "title", "status", "code", "detail", "requestId"],
        "properties": {
            "type": { "type": "string", "format": "uri", "example": "urn:taskd:problem:validation_failed" },
            "title": { "type": "string", "example": "The request is not valid" },
            "status": { "type": "integer", "example": 400 },
            "code": { "type": "string", "description": "Stable; for programs", "example": "validation_failed" },
            "detail": { "type": "string", "example": "the request is not valid" },
            "requestId": { "type": "string", "description": "Also in the X-Request-Id header" },
            "errors": {
                "type": "array",
                "description": "Every wrong part of the request, for `validation_failed`",
                "items": {
                    "type": "object",
                    "required": ["in", "pointer", "message"],
                    "properties": {
                        "in": { "type": "string", "enum": ["body", "query", "path"] },
                        "pointer": { "type": "string", "description": "A JSON pointer (RFC 6901)", "example": "/title" },
                        "message": { "type": "string", "example": "is required" },
                    },
                },
            },
        },
    })
}

/// Says what holds of a member. A reference can have no neighbours in OpenAPI 3.0, so it goes.
fn rule(member: &mut Value, rules: Value) {
    if let Some(member) = member.as_object_mut() {
        member.remove("$ref");
    }
    merge(member, rules);
}

/// Puts the members of one object into another.
fn merge(into: &mut Value, from: Value) {
    if !into.is_object() {
        *into = json!({});
    }
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}
