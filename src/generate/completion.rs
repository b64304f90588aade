//! The shortest way to end a JSON text that a schema allows, from any point in it.
//! The constraint needs it to know what a reply must still cost, and to end one whose tokens run out.
//! Reads what was written as far as it goes, with the schema beside it, in the layout the
//! constraint fixes (`", "` and `": "`); strings that are too short are filled with dots, which
//! read as left out and are few tokens. Knows the keywords of [`super::constraint`] and no more.

use serde_json::{Map, Value};

/// What fills a string up to its least length.
const FILLER: char = '.';

/// What reading a value comes to.
enum Reading {
    /// The value ended; so many bytes of the text are behind it.
    Ended(usize),
    /// The text ends within the value, which these bytes would end.
    Open(Vec<u8>),
}

/// The bytes that end `text` as JSON of `schema`; None when it cannot become that.
#[must_use]
pub fn shortest(schema: &Value, text: &[u8]) -> Option<Vec<u8>> {
    match read(schema, text)? {
        Reading::Ended(0) => Some(Vec::new()),
        Reading::Ended(_) => None,
        Reading::Open(bytes) => Some(bytes),
    }
}

fn read(schema: &Value, text: &[u8]) -> Option<Reading> {
    let Some(object) = schema.as_object() else {
        return if schema == &Value::Bool(true) { any(text) } else { None };
    };
    if let Some(Value::Array(options)) = object.get("anyOf") {
        return nearest(options.iter().map(|option| read(option, text)));
    }
    if let Some(fixed) = object.get("const") {
        return literal(fixed, text);
    }
    if let Some(Value::Array(values)) = object.get("enum") {
        return nearest(values.iter().map(|value| literal(value, text)));
    }
    let of_kind = |kind: &str| match kind {
        "object" => members(object, text),
        "array" => items(object, text),
        "string" => string(object, text),
        "integer" | "number" => number(object, text),
        "boolean" => nearest([true, false].map(|value| literal(&Value::Bool(value), text))),
        "null" => literal(&Value::Null, text),
        _ => None,
    };
    match object.get("type") {
        Some(Value::String(kind)) => of_kind(kind),
        Some(Value::Array(kinds)) => nearest(kinds.iter().filter_map(Value::as_str).map(of_kind)),
        _ => any(text),
    }
}

/// The reading that ended, else the one that needs least.
fn nearest(readings: impl IntoIterator<Item = Option<Reading>>) -> Option<Reading> {
    let needs = |reading: &Reading| match reading {
        Reading::Ended(_) => 0,
        Reading::Open(bytes) => bytes.len() + 1,
    };
    readings.into_iter().flatten().min_by_key(needs)
}

/// A value of any kind; what may begin it is known by its first byte.
fn any(text: &[u8]) -> Option<Reading> {
    let none = Map::new();
    match text.first() {
        None => Some(Reading::Open(b"0".to_vec())),
        Some(b'{') => members(&none, text),
        Some(b'[') => items(&none, text),
        Some(b'"') => string(&none, text),
        Some(b't' | b'f') => nearest([true, false].map(|value| literal(&Value::Bool(value), text))),
        Some(b'n') => literal(&Value::Null, text),
        Some(_) => number(&none, text),
    }
}

fn literal(value: &Value, text: &[u8]) -> Option<Reading> {
    let whole = value.to_string().into_bytes();
    if let Some(rest) = text.strip_prefix(whole.as_slice()) {
        return Some(Reading::Ended(rest.len()));
    }
    whole.strip_prefix(text).map(|rest| Reading::Open(rest.to_vec()))
}

/// The shortest value of a schema.
fn least(schema: &Value) -> Option<Vec<u8>> {
    shortest(schema, b"")
}

fn string(schema: &Map<String, Value>, text: &[u8]) -> Option<Reading> {
    let bound = schema.get("minLength").and_then(Value::as_u64).unwrap_or(0);
    let fill = |characters: u64| {
        let missing = usize::try_from(bound.saturating_sub(characters)).unwrap_or(0);
        let mut bytes = FILLER.to_string().repeat(missing).into_bytes();
        bytes.push(b'"');
        bytes
    };
    let Some(inside) = text.strip_prefix(b"\"") else {
        return text.is_empty().then(|| Reading::Open([b"\"".as_slice(), &fill(0)].concat()));
    };
    let mut characters = 0;
    let mut at = 0;
    while let Some(&byte) = inside.get(at) {
        match byte {
            b'"' => return Some(Reading::Ended(inside.len() - at - 1)),
            b'\\' => match escape(&inside[at..]) {
                Ok(length) => at += length,
                // The escape is ended as the line break or zero it can be.
                Err(end) => return Some(Reading::Open([end, fill(characters + 1)].concat())),
            },
            _ => {
                let length = match byte {
                    0xF0.. => 4,
                    0xE0.. => 3,
                    0xC0.. => 2,
                    _ => 1,
                };
                let found = (inside.len() - at).min(length);
                if found < length {
                    let end = ending(&inside[at..], length);
                    return Some(Reading::Open([end, fill(characters + 1)].concat()));
                }
                at += length;
            }
        }
        characters += 1;
    }
    Some(Reading::Open(fill(characters)))
}

/// Length of the escape `text` begins with, or the bytes that end it.
fn escape(text: &[u8]) -> Result<usize, Vec<u8>> {
    match text.get(1) {
        None => Err(b"n".to_vec()),
        Some(b'u') => {
            let digits = text[2..].len().min(4);
            if digits == 4 { Ok(6) } else { Err(b"0041"[digits..].to_vec()) }
        }
        Some(_) => Ok(2),
    }
}

/// Continuation bytes that end the character `begun` begins, of `length` bytes, within its plane.
fn ending(begun: &[u8], length: usize) -> Vec<u8> {
    let second = match begun[0] {
        0xE0 => 0xA0,
        0xF0 => 0x90,
        _ => 0x80,
    };
    (begun.len()..length).map(|place| if place == 1 { second } else { 0x80 }).collect()
}

fn number(schema: &Map<String, Value>, text: &[u8]) -> Option<Reading> {
    let length = text.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).count();
    if length < text.len() {
        return Some(Reading::Ended(text.len() - length));
    }
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let (low, high) = (bound("minimum").unwrap_or(f64::NEG_INFINITY), bound("maximum").unwrap_or(f64::INFINITY));
    let fits = |text: &str| {
        let sound = serde_json::from_str::<serde_json::Number>(text).ok().and_then(|number| number.as_f64());
        sound.is_some_and(|number| (low..=high).contains(&number))
    };
    let begun = std::str::from_utf8(text).ok()?;
    // Up to three more digits, the fewest first: bounds of requests are small.
    let more = std::iter::once(String::new())
        .chain((0..10).map(|n| n.to_string()))
        .chain((10..100).map(|n| n.to_string()))
        .chain((100..1000).map(|n| n.to_string()))
        .chain((0..10).map(|n| format!("-{n}")));
    let bounds = [low, high].into_iter().filter(|bound| begun.is_empty() && bound.is_finite()).map(|b| b.to_string());
    more.chain(bounds).find(|more| fits(&format!("{begun}{more}"))).map(|more| Reading::Open(more.into_bytes()))
}

fn items(schema: &Map<String, Value>, text: &[u8]) -> Option<Reading> {
    let every = schema.get("items").unwrap_or(&Value::Bool(true));
    let fewest = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
    // What is still missing when `there` items are, in the middle of a list.
    let missing = |there: u64| -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for place in there..fewest {
            bytes.extend(if place == 0 { b"".as_slice() } else { b", " });
            bytes.extend(least(every)?);
        }
        bytes.push(b']');
        Some(bytes)
    };
    let Some(mut rest) = text.strip_prefix(b"[") else {
        return text.is_empty().then(|| missing(0)).flatten().map(|end| Reading::Open([b"[".to_vec(), end].concat()));
    };
    if rest.is_empty() {
        return Some(Reading::Open(missing(0)?));
    }
    if rest[0] == b']' {
        return Some(Reading::Ended(rest.len() - 1));
    }
    for there in 1.. {
        match read(every, rest)? {
            Reading::Open(end) => return Some(Reading::Open([end, missing(there)?].concat())),
            Reading::Ended(left) => rest = &rest[rest.len() - left..],
        }
        match rest {
            [] => return Some(Reading::Open(missing(there)?)),
            [b']', after @ ..] => return Some(Reading::Ended(after.len())),
            [b','] => return after_comma(every, b" ", &missing, there),
            [b',', b' '] => return after_comma(every, b"", &missing, there),
            [b',', b' ', after @ ..] => rest = after,
            _ => return None,
        }
    }
    None
}

/// A comma asks for one more item.
fn after_comma(every: &Value, blank: &[u8], missing: &dyn Fn(u64) -> Option<Vec<u8>>, there: u64) -> Option<Reading> {
    Some(Reading::Open([blank.to_vec(), least(every)?, missing(there + 1)?].concat()))
}

fn members(schema: &Map<String, Value>, text: &[u8]) -> Option<Reading> {
    let none = Map::new();
    let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let others = schema.get("additionalProperties").unwrap_or(&Value::Bool(true));
    let required = schema.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is_required = |name: &str| required.iter().any(|one| one == name);
    // What must follow the properties up to `from`, each behind a comma but a first.
    let missing = |from: usize, mut first: bool| -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for (name, schema) in known.iter().skip(from).filter(|(name, _)| is_required(name)) {
            bytes.extend(if first { b"".as_slice() } else { b", " });
            first = false;
            bytes.extend(Value::String(name.clone()).to_string().into_bytes());
            bytes.extend(b": ");
            bytes.extend(least(schema)?);
        }
        bytes.push(b'}');
        Some(bytes)
    };
    let Some(mut rest) = text.strip_prefix(b"{") else {
        let end = text.is_empty().then(|| missing(0, true)).flatten()?;
        return Some(Reading::Open([b"{".to_vec(), end].concat()));
    };
    if rest.is_empty() {
        return Some(Reading::Open(missing(0, true)?));
    }
    if rest[0] == b'}' {
        return Some(Reading::Ended(rest.len() - 1));
    }
    let mut next = 0;
    loop {
        // The names that what is there can still become: those declared next, else any.
        let member = known.iter().enumerate().skip(next).filter_map(|(place, (name, schema))| {
            let skipped = known.iter().skip(next).take(place - next).any(|(name, _)| is_required(name));
            let label = format!("{}: ", Value::String(name.clone()));
            if skipped { None } else { member(label.as_bytes(), schema, rest).map(|reading| (place + 1, reading)) }
        });
        let cost = |found: &(usize, Reading)| match &found.1 {
            Reading::Ended(_) => 0,
            Reading::Open(bytes) => bytes.len() + missing(found.0, false).map_or(usize::MAX / 2, |end| end.len()),
        };
        let declared = member.min_by_key(cost);
        let (place, reading) = match declared {
            Some(found) => found,
            None => (next, other_member(others, rest)?),
        };
        next = place;
        match reading {
            Reading::Open(end) => return Some(Reading::Open([end, missing(next, false)?].concat())),
            Reading::Ended(left) => rest = &rest[rest.len() - left..],
        }
        match rest {
            [] => return Some(Reading::Open(missing(next, false)?)),
            [b'}', after @ ..] => return Some(Reading::Ended(after.len())),
            [b','] => {}
            [b',', b' ', after @ ..] => {
                rest = after;
                continue;
            }
            _ => return None,
        }
        // The blank after the comma, then the cheapest member there may be.
        let after = [text, b" "].concat();
        return match members(schema, &after)? {
            Reading::Open(end) => Some(Reading::Open([b" ".to_vec(), end].concat())),
            Reading::Ended(_) => None,
        };
    }
}

/// A name, a colon and a value: `label` is the first two.
fn member(label: &[u8], schema: &Value, text: &[u8]) -> Option<Reading> {
    match text.strip_prefix(label) {
        Some(value) => read(schema, value),
        None => Some(Reading::Open([label.strip_prefix(text)?, &least(schema)?].concat())),
    }
}

/// A member under a name the schema does not declare.
fn other_member(schema: &Value, text: &[u8]) -> Option<Reading> {
    if schema == &Value::Bool(false) {
        return None;
    }
    let label = match string(&Map::new(), text)? {
        Reading::Open(end) => return Some(Reading::Open([end, b": ".to_vec(), least(schema)?].concat())),
        Reading::Ended(left) => &text[..text.len() - left],
    };
    member(&[label, b": "].concat(), schema, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn end(schema: &Value, text: &str) -> String {
        String::from_utf8(shortest(schema, text.as_bytes()).unwrap()).unwrap()
    }

    fn written() -> Value {
        json!({
            "type": "object", "required": ["reasoning", "list"], "additionalProperties": false,
            "properties": {
                "reasoning": { "type": "string", "maxLength": 50 },
                "list": { "type": "array", "minItems": 2, "maxItems": 3, "items": {
                    "type": "object", "required": ["text"], "additionalProperties": false,
                    "properties": { "text": { "type": "string", "minLength": 3, "maxLength": 9 } } } },
            },
        })
    }

    #[test]
    fn each_point_has_its_end() {
        let rest = r#""list": [{"text": "..."}, {"text": "..."}]}"#;
        let schema = written();
        assert_eq!(end(&schema, ""), format!(r#"{{"reasoning": "", {rest}"#));
        assert_eq!(end(&schema, r#"{"rea"#), format!(r#"soning": "", {rest}"#));
        assert_eq!(end(&schema, r#"{"reasoning": "so"#), format!(r#"", {rest}"#));
        assert_eq!(end(&schema, r#"{"reasoning": "so\"#), format!(r#"n", {rest}"#));
        assert_eq!(end(&schema, r#"{"reasoning": "so\u00"#), format!(r#"41", {rest}"#));
        assert_eq!(end(&schema, r#"{"reasoning": "so", "list": [{"text": "a"#), r#".."}, {"text": "..."}]}"#);
        assert_eq!(end(&schema, r#"{"reasoning": "so", "list": [{"text": "abcd"}, {"text": "abc""#), "}]}");
        assert_eq!(
            end(&schema, r#"{"reasoning": "", "list": [{"text": "abcd"}, {"text": "abc"},"#),
            r#" {"text": "..."}]}"#
        );
        assert_eq!(end(&schema, r#"{"reasoning": "", "list": [{"text": "abcd"}, {"text": "abc"}]}"#), "");
        assert_eq!(shortest(&schema, br#"{"other"#), None);
        assert_eq!(shortest(&schema, br#"{"reasoning": "", "list": []}}"#), None);
        assert_eq!(
            shortest(&schema, b"{\"reasoning\": \"\xF0"),
            Some([&b"\x90\x80\x80\", "[..], rest.as_bytes()].concat())
        );
    }

    #[test]
    fn every_keyword_is_known() {
        assert_eq!(end(&json!({ "enum": ["red", "blue"] }), "\"b"), "lue\"");
        assert_eq!(end(&json!({ "const": "so" }), "\"s"), "o\"");
        assert_eq!(end(&json!({ "anyOf": [{ "type": "string", "minLength": 9 }, { "type": "null" }] }), ""), "null");
        assert_eq!(end(&json!({ "type": "integer", "minimum": 20, "maximum": 30 }), "2"), "0");
        assert_eq!(end(&json!({ "type": "number" }), "-"), "0");
        assert_eq!(end(&json!({ "type": "number" }), "1.5"), "");
        assert_eq!(end(&json!({ "type": ["boolean", "null"] }), "t"), "rue");
        assert_eq!(end(&json!({ "type": "object" }), r#"{"a": [1, {"b"#), "\": 0}]}");
        let optional = json!({ "type": "object", "properties": { "a": true, "b": true }, "required": ["b"] });
        assert_eq!(end(&optional, r#"{"a": 1,"#), r#" "b": 0}"#);
        assert_eq!(end(&optional, "{"), r#""b": 0}"#);
    }
}
