use serde_json::Value;

use crate::report::fold::fold;
use crate::report::json::to_json;
use crate::report::sample::{self, journal};

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../reports/report.schema.json")).unwrap()
}

/// Checks a value against the few words of JSON Schema that our schema uses.
fn matches(root: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#'));
        return matches(root, target.unwrap(), value, place);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed = |wanted: &Value| wanted == kind || (wanted == "number" && kind == "integer");
    match &schema["type"] {
        Value::Null => {}
        Value::Array(kinds) => assert!(kinds.iter().any(allowed), "{place} is {kind}"),
        wanted => assert!(allowed(wanted), "{place} is {kind}"),
    }
    if let Some(values) = schema["enum"].as_array() {
        assert!(values.contains(value), "{place} is {value}");
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let resolved = |choice: &Value| {
            let target = choice["$ref"].as_str().and_then(|reference| root.pointer(reference.trim_start_matches('#')));
            target.unwrap_or(choice)["type"].clone()
        };
        let choice = choices.iter().find(|choice| allowed(&resolved(choice)));
        matches(root, choice.unwrap(), value, place);
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        matches(root, &schema["items"], item, &format!("{place}[{index}]"));
    }
    let Some(fields) = value.as_object().filter(|_| schema["type"] == "object") else {
        return;
    };
    let known = schema["properties"].as_object().unwrap();
    for (name, field) in fields {
        let place = format!("{place}.{name}");
        let schema = known.get(name);
        matches(root, schema.unwrap_or_else(|| panic!("{place} is not in the schema")), field, &place);
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(fields.contains_key(name.as_str().unwrap()), "{place} lacks {name}");
    }
}

#[test]
fn a_report_is_as_its_schema_says_wherever_the_run_was_cut_off() {
    let schema = schema();
    let events = sample::mtty();
    for length in 1..=events.len() {
        let run = fold(&journal(events[..length].to_vec())).unwrap();
        let json: Value = serde_json::from_slice(&to_json(&run).unwrap()).unwrap();
        matches(&schema, &schema, &json, "report");
    }
}

#[test]
fn what_programs_look_for_first() {
    let run = fold(&journal(sample::mtty())).unwrap();
    let json: Value = serde_json::from_slice(&to_json(&run).unwrap()).unwrap();
    assert_eq!(json["verdict"], "does-not-conform");
    assert_eq!(json["exit"], 3);
    assert_eq!(json["kernel"], "7.3.4+deb14-amd64");
    assert_eq!(json["driver"], "mtty");
    assert_eq!(json["capabilities"], "stop_copy+p2p+pre_copy");
    assert_eq!(json["accelerator"], "tcg");
    assert_eq!(json["timeline"]["power_on_to_verdict"], 8.0);
    assert_eq!(json["counts"]["fail"], 3);
    assert_eq!(json["checks"][4]["name"], "session::old_fd_is_dead_after_running");
    assert_eq!(json["checks"][4]["verdict"], "fail");
    assert_eq!(json["checks"][4]["broken"][0]["actual"], "read returned 4096 bytes");
}
