//! The OpenAPI 3.0 document. Paperclip makes the routes and types from the code; what its
//! conversion to version 3 leaves out comes from the tables beside.

mod changes;
mod operation;
mod tables;

pub use crate::domain::field::{NO_NUL, NOT_BLANK};
pub use tables::{body_rules, event_parameter_rules, parameter_rules};

mod headers;
mod problem;

use actix_web::App;
use paperclip::actix::OpenApiExt;
use paperclip::v2::models::{DefaultApiRaw, Info, Tag};
use serde_json::{Map, Value, json};

use self::tables::{ALONE, LISTS, NULLABLE, PAGES, REQUIRED};
use crate::domain::catalog;
use crate::domain::event::ActorKind;
use crate::domain::task::rules;
use crate::domain::user::Role;
use crate::http::describe::{self, DOCUMENTS, OPERATION, schema, schema_or_null};
use crate::http::error::{ApiError, PROBLEM_JSON};
use crate::http::extract::body::BODY_BYTES;
use crate::http::route::{Handler, Need, Route};
use crate::http::routes;

/// One of the two, for who wants to read it.
const LICENSE: &str = "https://opensource.org/license/mit";

/// Makes the document.
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
        tags: [("tasks", "Tasks and what happened to them"), ("access", "Signing in, and API tokens"), ("users", "Who tasks are for"), ("categories", "What tasks are about"), ("changes", "What changes, to follow it"), ("webhooks", "Endpoints that are told what changes"), ("events", "What changes of tasks became; for admins and viewers"), ("operation", "What watches and operates a process"), ("documentation", "What there is, and in which form")]
            .map(|(name, text)| Tag { name: name.into(), description: Some(text.into()), external_docs: None })
            .into(),
        ..DefaultApiRaw::default()
    };
    // This app only serves to produce the description.
    let _ = App::new().wrap_api_with_spec(spec).configure(routes::described).with_raw_json_spec_v3(
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
    document["info"]["license"] = json!({ "name": env!("CARGO_PKG_LICENSE"), "url": LICENSE });
    document["info"]["contact"] = json!({ "name": "Whoever runs this instance" });
    let schemas = &mut document["components"]["schemas"];
    for (whole, member, item) in PAGES.map(|(page, item)| (page, "data", item)).iter().chain(&LISTS)
    {
        // paperclip inlines the row's schema in the page's.
        let row = schemas[whole]["properties"][member]["items"].take();
        schemas[whole]["properties"][member]["items"] =
            json!({ "$ref": format!("#/components/schemas/{item}") });
        if schemas[item].is_null() {
            schemas[item] = row;
        }
    }
    schemas["Task"] = task();
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
    for schema in PAGES.iter().flat_map(|(page, item)| [*page, *item]).chain(ALONE) {
        let members = schemas[schema]["properties"].as_object().cloned().unwrap_or_default();
        let always: Vec<&String> = members.keys().filter(|name| *name != "total").collect();
        schemas[schema]["required"] = json!(always);
    }
    rule(
        &mut schemas["User"]["properties"]["role"],
        json!({ "type": "string", "enum": Role::ALL.map(Role::as_str) }),
    );
    schemas["Session"]["properties"]["user"] = schema("User");
    schemas["CurrentSession"]["properties"]["user"] =
        schema_or_null("User", "Who asks; null where no token is required.");
    let current = &mut schemas["CurrentSession"]["properties"];
    current["kind"]["enum"] = json!(["session", "token", "none"]);
    current["role"]["enum"] = json!(Role::ALL.map(Role::as_str));
    for schema in ["Activity", "Event", "EventDetail"] {
        schemas[schema]["properties"]["type"]["enum"] =
            json!(catalog::built_in().iter().map(|known| known.name).collect::<Vec<_>>());
    }
    for schema in ["Event", "EventDetail"] {
        let actor = &mut schemas[schema]["properties"]["actor"];
        actor["required"] = json!(["kind", "id"]);
        actor["properties"]["id"]["nullable"] = json!(true);
        actor["properties"]["kind"]["enum"] = json!(ActorKind::ALL.map(ActorKind::as_str));
    }
    changes::complete(&mut schemas["Change"]);
    schemas["EventDetail"]["properties"]["payload"] = json!({
        "type": "object",
        "description": "The subject as it was then, and for an update what changed; `/schemas/{type}` has its form.",
    });
    schemas["Effect"]["properties"]["state"]["enum"] =
        json!(["open", "claimed", "done", "skipped"]);
    schemas["Activity"]["properties"]["changes"] = json!({
        "type": "object", "nullable": true,
        "description": "For an update, the fields that changed.",
        "additionalProperties": { "type": "object", "required": ["from", "to"], "properties": {
            "from": { "description": "Before; of any type, or null" }, "to": { "description": "After; the same" } } },
    });
    // paperclip inlines the schema of a member that is an object.
    let mail = schemas["Activity"]["properties"]["mail"].take();
    schemas["Mail"] = mail;
    schemas["Activity"]["properties"]["mail"] = schema_or_null(
        "Mail",
        "The mail about it; null if it needed none, or if that is too long ago to be known.",
    );
    schemas["Mail"]["required"] = json!(["state", "to", "at", "error"]);
    for (schema, member) in NULLABLE {
        schemas[schema]["properties"][member]["nullable"] = json!(true);
    }
    merge(schemas, json!({ "Problem": problem::schema() }));
    merge(schemas, operation::schemas());
    document["components"]["headers"] = headers::rates();
    document["components"]["securitySchemes"] = json!({ "token": {
        "type": "http", "scheme": "bearer",
        "description": "A session's token (`POST /sessions`) or an API token (`POST /tokens`). A member sees and changes its own tasks; a viewer sees all and changes nothing; an admin may do anything." } });
    document["security"] = json!([{ "token": [] }]);
    let rules: Map<String, Value> = parameter_rules()
        .into_iter()
        .chain(event_parameter_rules())
        .chain(changes::parameter_rules())
        .map(|(n, v)| (n.to_owned(), v))
        .collect();
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            complete_operation(path, method, operation, &rules);
        }
    }
    for route in routes::all().iter() {
        if let Handler::Plain(_, operation) = &route.handler
            && let Some(mut operation) = operation()
        {
            if route.need == Need::Nothing {
                operation["security"] = json!([]);
            }
            match [OPERATION, DOCUMENTS].iter().any(|tag| operation["tags"][0] == **tag) {
                true => complete_plain(route, &mut operation),
                false => {
                    let method = route.method.to_lowercase();
                    complete_operation(route.path, &method, &mut operation, &rules);
                }
            }
            document["paths"][route.path][route.method.to_lowercase()] = operation;
        }
    }
}

fn complete_operation(path: &str, method: &str, operation: &mut Value, rules: &Map<String, Value>) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default().to_owned();
        if parameter["in"] == "path" {
            parameter["schema"] = match name.as_str() {
                "eventId" => json!({ "type": "string", "format": "uuid" }),
                _ => json!({ "type": "integer", "format": "int64", "minimum": 1 }),
            };
        } else if let Some(rules) = rules.get(&format!("{path} {name}")).or(rules.get(&name)) {
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
    let mut errors = vec![
        ApiError::Validation(Vec::new()),
        ApiError::RateLimited(0),
        ApiError::Timeout,
        ApiError::Unavailable,
        ApiError::Internal,
    ];
    let Some(route) = routes::all().find(&method.to_uppercase(), path) else { return };
    set_description(route, operation);
    if route.need == Need::Nothing {
        operation["security"] = json!([]);
    } else {
        errors.extend([ApiError::Unauthenticated, ApiError::InvalidToken, ApiError::Forbidden("")]);
    }
    if path.contains('{') {
        errors.push(ApiError::NotFound("thing"));
    }
    if has_body {
        errors.push(ApiError::MalformedJson(String::new()));
        errors.push(ApiError::UnsupportedMediaType(""));
        errors.push(ApiError::UnsupportedEncoding);
        errors.push(ApiError::SlowBody);
        errors.push(ApiError::PayloadTooLarge(BODY_BYTES));
    }
    errors.extend(headers::complete(route, operation));
    errors.extend((route.errors)());
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
        let before = responses[status.as_str()]["headers"].take();
        if error.retry_after().is_some() {
            response["headers"] = json!({
                "Retry-After": { "description": "Seconds to wait", "schema": { "type": "integer" } }
            });
        } else if before.is_object() {
            response["headers"] = before;
        }
        responses[status.as_str()] = response;
    }
    headers::complete_answers(operation);
}

fn set_description(route: &Route, operation: &mut Value) {
    if !route.description.is_empty() {
        operation["description"] = json!(route.description);
    }
}

/// Adds what is true of every route to the description of one that has its own.
fn complete_plain(route: &Route, operation: &mut Value) {
    set_description(route, operation);
    let responses = operation["responses"].as_object().cloned().unwrap_or_default();
    if !responses.keys().any(|status| status.starts_with('4')) {
        let (status, code, title) = ApiError::Validation(Vec::new()).kind();
        operation["responses"][status.as_str()] = describe::problem(&format!("{title} (`{code}`)"));
    }
}

/// The schema of a task, from the rules of its fields.
fn task() -> Value {
    let described = |member: rules::Member| {
        let mut schema = member.schema;
        schema["description"] = json!(member.description);
        if schema["type"] == "integer" {
            schema["format"] = json!("int64");
        }
        if member.nullable {
            schema["nullable"] = json!(true);
        }
        (member.name.to_owned(), schema)
    };
    let properties = Map::from_iter(rules::members().map(described));
    json!({ "type": "object", "description": "A task.", "properties": properties })
}

/// Adds rules to a member. In OpenAPI 3.0 a `$ref` can have no siblings, so it is removed.
fn rule(member: &mut Value, rules: Value) {
    if let Some(member) = member.as_object_mut() {
        member.remove("$ref");
    }
    merge(member, rules);
}

/// Adds the members of one object to another.
fn merge(into: &mut Value, from: Value) {
    if !into.is_object() {
        *into = json!({});
    }
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}
