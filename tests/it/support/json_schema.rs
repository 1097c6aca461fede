//! Holds JSON against a schema of the API document: the part of JSON Schema that it uses.

use serde_json::Value;

/// What a `$ref` stands for; anything else stands for itself.
pub(crate) fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = schema["$ref"]
        .as_str()
        .and_then(|reference| reference.strip_prefix('#'));
    match reference {
        Some(pointer) => document.pointer(pointer).unwrap_or(&Value::Null),
        // With a description of its own, or an example.
        None => match schema["allOf"].as_array() {
            Some(all) if !all.is_empty() => resolve(document, &all[0]),
            _ => schema,
        },
    }
}

/// What is wrong with a value; nothing if it fits.
pub(crate) fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let schema = resolve(document, schema);
    let mut found = Vec::new();
    let has_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    let is_null = value.is_null() && schema["nullable"] == true;
    if !(has_type || is_null) {
        found.push(format!("{value} is not of type {}", schema["type"]));
    }
    if let Some(words) = schema["enum"]
        .as_array()
        .filter(|words| !words.contains(value))
    {
        found.push(format!("{value} is not one of {words:?}"));
    }
    match value {
        Value::String(text) => {
            let is_uuid = text.parse::<uuid::Uuid>().is_ok();
            if schema["format"] == "uuid" && !is_uuid {
                found.push(format!("{text} is no UUID"));
            }
            let length = (text.chars().count(), "minLength", "maxLength");
            found.extend(length_fault(schema, length));
        }
        Value::Array(items) => {
            found.extend(length_fault(schema, (items.len(), "minItems", "maxItems")));
            found.extend(
                items
                    .iter()
                    .flat_map(|item| faults(document, &schema["items"], item)),
            );
        }
        Value::Object(members) => {
            let required = schema["required"].as_array().into_iter().flatten();
            let missing = required.filter(|name| !members.contains_key(name.as_str().unwrap()));
            found.extend(missing.map(|name| format!("{name} is missing")));
            for (name, member) in members {
                let inner = faults(document, &schema["properties"][name], member);
                found.extend(inner.into_iter().map(|fault| format!("{name}: {fault}")));
            }
        }
        _ => {}
    }
    found
}

fn length_fault(schema: &Value, (length, least, most): (usize, &str, &str)) -> Option<String> {
    let bound = |name: &str, default| {
        schema[name]
            .as_u64()
            .map_or(default, |bound| usize::try_from(bound).unwrap())
    };
    let fits = (bound(least, 0)..=bound(most, usize::MAX)).contains(&length);
    (!fits).then(|| format!("{length} is not between {least} and {most}"))
}
