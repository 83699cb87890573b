//! Events of this version are held against the schemas of the last release, in `tests/it/released`:
//! a consumer that was written for those must be able to read them. A consumer is expected to
//! ignore members that it doesn't know.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use taskd::domain::catalog;

const INSTEAD: &str = "Events of the last release are still under way, and their consumers too. \
    Add a member that is not required by anybody, or publish another type beside this one, such as \
    TASK_CREATED_2, until nobody reads the old one; docs/extending.md says how.";

/// What a consumer of `old` could choke on if it gets what fits `new`.
fn breaks(old: &Value, new: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |what: String| found.push(format!("{at}: {what}"));
    let types = |schema: &Value| -> BTreeSet<String> {
        let given = match &schema["type"] {
            Value::String(one) => vec![one.clone()],
            Value::Array(many) => {
                many.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => return BTreeSet::new(),
        };
        given.into_iter().collect()
    };
    let (before, after) = (types(old), types(new));
    let fits =
        |name: &String| before.contains(name) || name == "integer" && before.contains("number");
    if !before.is_empty() && (after.is_empty() || !after.iter().all(fits)) {
        say(format!("its type was {before:?} and is {after:?}"));
    }
    for name in ["const", "format", "pattern"] {
        if !old[name].is_null() && old[name] != new[name] {
            say(format!("its {name} was {} and is {}", old[name], new[name]));
        }
    }
    if let Some(known) = old["enum"].as_array() {
        let values = new["enum"].as_array().cloned().unwrap_or_else(|| vec![json!("anything")]);
        for value in values.iter().filter(|value| !known.contains(value)) {
            say(format!("it may be {value} now"));
        }
    }
    for (name, is_upper) in [
        ("maximum", true),
        ("maxLength", true),
        ("maxItems", true),
        ("minimum", false),
        ("minLength", false),
        ("minProperties", false),
    ] {
        let Some(limit) = old[name].as_f64() else { continue };
        let kept =
            new[name].as_f64().is_some_and(|n| if is_upper { n <= limit } else { n >= limit });
        if !kept {
            say(format!("its {name} was {limit} and is {}", new[name]));
        }
    }
    let names = |schema: &Value| -> BTreeSet<String> {
        let required = schema["required"].as_array().into_iter().flatten();
        required.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let still = names(new);
    for name in names(old).iter().filter(|name| !still.contains(*name)) {
        say(format!("{name} may be absent now"));
    }
    for (name, member) in old["properties"].as_object().into_iter().flatten() {
        match &new["properties"][name] {
            Value::Null => found.push(format!("{at}/{name}: it is gone")),
            now => found.extend(breaks(member, now, &format!("{at}/{name}"))),
        }
    }
    for of_each in ["items", "additionalProperties"] {
        if old[of_each].is_object() {
            found.extend(breaks(&old[of_each], &new[of_each], &format!("{at}/*")));
        }
    }
    found
}

#[test]
fn what_consumers_of_the_last_release_read_can_still_be_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/released");
    let types = catalog::built_in();
    let mut checked = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let old: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let new = types.schema(name).unwrap_or_else(|| panic!("{name} is gone. {INSTEAD}"));
        let found = breaks(&old, new, name);
        assert!(found.is_empty(), "{}\n{INSTEAD}", found.join("\n"));
        checked += 1;
    }
    assert!(checked >= 3, "{checked} schemas of the last release");
}

#[test]
fn each_kind_of_break_is_noticed_and_what_is_added_is_none() {
    let old = json!({
        "type": "object", "required": ["id", "status"],
        "properties": {
            "id": { "type": "integer", "minimum": 1 },
            "status": { "type": "string", "enum": ["a", "b"] },
            "text": { "type": ["string", "null"], "maxLength": 9, "format": "date-time" },
            "tags": { "type": "array", "items": { "type": "string" } },
        },
    });
    let with = |change: fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        breaks(&old, &new, "T")
    };
    let breaking: [fn(&mut Value); 11] = [
        |new| new["type"] = json!("array"),
        |new| new["required"] = json!(["id"]),
        |new| new["properties"]["id"]["type"] = json!(["integer", "null"]),
        |new| new["properties"]["id"]["minimum"] = json!(0),
        |new| new["properties"]["status"]["enum"] = json!(["a", "b", "c"]),
        |new| new["properties"]["status"]["enum"] = Value::Null,
        |new| new["properties"]["text"]["maxLength"] = json!(10),
        |new| new["properties"]["text"]["format"] = Value::Null,
        |new| new["properties"]["text"] = Value::Null,
        |new| new["properties"]["tags"]["items"]["type"] = json!("integer"),
        |new| new["properties"]["text"]["type"] = Value::Null,
    ];
    for (number, change) in breaking.into_iter().enumerate() {
        assert_eq!(with(change).len(), 1, "{number}: {:?}", with(change));
    }
    let harmless: [fn(&mut Value); 4] = [
        |new| new["properties"]["more"] = json!({ "type": "string" }),
        |new| new["required"] = json!(["id", "status", "text"]),
        |new| new["properties"]["status"]["enum"] = json!(["a"]),
        |new| new["properties"]["text"]["maxLength"] = json!(8),
    ];
    for (number, change) in harmless.into_iter().enumerate() {
        assert_eq!(with(change), Vec::<String>::new(), "{number}");
    }
}
