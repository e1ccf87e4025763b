//! Each operation on each kind of place, and against a slow model on trees of JSON.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use super::*;
use crate::schema::Class;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const NOW: i64 = 1_700_000_000_123;

fn schema() -> Schema {
    let mut schema = Schema::built_in();
    for class in [
        r#"{"class":"/db/City","embedded":true,"fields":{"zip":{"name":"zip","type":"/db/Integer"},"name":{"name":"name","type":"/db/String"}}}"#,
        r#"{"class":"/db/Base","superClass":"/db/Object","fields":{"name":{"name":"name","type":"/db/String"}}}"#,
        r#"{"class":"/db/Lot","superClass":"/db/Base","fields":{
            "count":{"name":"count","type":"/db/Integer","order":0},"price":{"name":"price","type":"/db/Double","order":1},
            "list":{"name":"list","type":"/db/collection.List[/db/String]","order":2},"set":{"name":"set","type":"/db/collection.Set[/db/String]","order":3},
            "map":{"name":"map","type":"/db/collection.Map[/db/String,/db/Integer]","order":4},"city":{"name":"city","type":"/db/City","order":5},
            "cities":{"name":"cities","type":"/db/collection.List[/db/City]","order":6},"at":{"name":"at","type":"/db/DateTime","order":7},
            "day":{"name":"day","type":"/db/Date","order":8},"time":{"name":"time","type":"/db/Time","order":9},
            "json":{"name":"json","type":"/db/JsonObject","order":10},"ats":{"name":"ats","type":"/db/collection.Set[/db/DateTime]","order":11},
            "owner":{"name":"owner","type":"/db/User","order":12}}}"#,
    ] {
        let class: Class = serde_json::from_str(class).unwrap();
        schema.classes.insert(class.class.strip_prefix("/db/").unwrap().into(), class.into());
    }
    schema
}

fn whole(fields: &str) -> String {
    format!(r#"{{"id":"/db/Lot/1","version":3,"acl":null,"createdAt":"a","updatedAt":"b"{fields}}}"#)
}

fn applied(bucket: &str, before: &str, update: &str) -> Result<String, UpdateError> {
    let fields = if before == "{}" { String::new() } else { format!(",{}", &before[1..before.len() - 1]) };
    Ok(Update::parse(update.as_bytes())?.apply(&whole(&fields), &schema(), bucket, NOW)?.fields)
}

/// What becomes of one declared field.
fn field(before: &str, update: &str) -> Result<String, UpdateError> {
    let name = Update::parse(update.as_bytes())?.steps.first().map(|step| step.path.field().to_owned()).unwrap();
    let fields = applied("Lot", before, update)?;
    let object = format!("{{{}}}", &fields[1..]);
    let entries = object_entries(object.as_bytes()).unwrap();
    Ok(entries.iter().find(|(entry, _)| *entry == name).unwrap().1.get().to_owned())
}

#[test]
fn operations_of_declared_fields() {
    for (before, update, after) in [
        (r#"{"name":"a"}"#, r#"{"$set":{"name":"b"}}"#, r#""b""#),
        (r#"{"count":24}"#, r#"{"$inc":{"count":1}}"#, "25"),
        (r#"{"count":24}"#, r#"{"$dec":{"count":1}}"#, "23"),
        (r#"{"count":24}"#, r#"{"$mul":{"count":0.5}}"#, "12"),
        (r#"{}"#, r#"{"$inc":{"count":2.0}}"#, "2"),
        (r#"{"count":9007199254740993}"#, r#"{"$inc":{"count":1}}"#, "9007199254740994"),
        (r#"{"price":13.37}"#, r#"{"$mul":{"price":2}}"#, "26.74"),
        (r#"{"price":13.37}"#, r#"{"$mul":{"price":0.5}}"#, "6.685"),
        (r#"{"price":0.1}"#, r#"{"$inc":{"price":0.2}}"#, "0.30000000000000004"),
        (r#"{"price":21}"#, r#"{"$mul":{"price":2}}"#, "42"),
        (r#"{"price":1e300}"#, r#"{"$mul":{"price":10}}"#, "1e+301"),
        (r#"{"price":13.37}"#, r#"{"$min":{"price":42}}"#, "13.37"),
        (r#"{"price":42}"#, r#"{"$min":{"price":42.0}}"#, "42"),
        (r#"{"price":1337}"#, r#"{"$min":{"price":42}}"#, "42"),
        (r#"{"price":13.37}"#, r#"{"$max":{"price":42}}"#, "42"),
        (r#"{}"#, r#"{"$max":{"price":-1}}"#, "-1"),
        (r#"{"count":15}"#, r#"{"$and":{"count":85}}"#, "5"),
        (r#"{"count":15}"#, r#"{"$or":{"count":85}}"#, "95"),
        (r#"{"count":15}"#, r#"{"$xor":{"count":85}}"#, "90"),
        (r#"{"list":["a"]}"#, r#"{"$push":{"list":"b"}}"#, r#"["a","b"]"#),
        (r#"{}"#, r#"{"$push":{"list":"b"}}"#, r#"["b"]"#),
        (r#"{"list":["a"]}"#, r#"{"$unshift":{"list":"b"}}"#, r#"["b","a"]"#),
        (r#"{"list":["a","b"]}"#, r#"{"$pop":{"list":null}}"#, r#"["a"]"#),
        (r#"{"list":["a","b"]}"#, r#"{"$shift":{"list":null}}"#, r#"["b"]"#),
        (r#"{"list":[]}"#, r#"{"$shift":{"list":null}}"#, "[]"),
        (r#"{}"#, r#"{"$pop":{"list":null}}"#, "null"),
        (r#"{"list":["a","b"]}"#, r#"{"$replace":{"list.0":"x","list.1":"y"}}"#, r#"["x","y"]"#),
        (r#"{"list":["a"]}"#, r#"{"$replace":{"list.3":"x"}}"#, r#"["a",null,null,"x"]"#),
        (r#"{}"#, r#"{"$replace":{"list.1":"x"}}"#, r#"[null,"x"]"#),
        (r#"{"list":["a","b","a"]}"#, r#"{"$remove":{"list":"a"}}"#, r#"["b"]"#),
        (r#"{"list":["a"]}"#, r#"{"$set":{"list.0":"b"}}"#, r#"["b"]"#),
        (r#"{"set":["a"]}"#, r#"{"$add":{"set":"b"}}"#, r#"["a","b"]"#),
        (r#"{"set":["a"]}"#, r#"{"$add":{"set":"a"}}"#, r#"["a"]"#),
        (r#"{"set":["a"]}"#, r#"{"$add":{"set":"\u0061"}}"#, r#"["a"]"#),
        (r#"{"set":["a","b"]}"#, r#"{"$remove":{"set":"a"}}"#, r#"["b"]"#),
        (r#"{"ats":["2020-01-01T00:00:00.5Z"]}"#, r#"{"$add":{"ats":"2020-01-01T00:00:00.500Z"}}"#, r#"["2020-01-01T00:00:00.5Z"]"#),
        (r#"{"ats":["2020-01-01T00:00:00.5Z"]}"#, r#"{"$remove":{"ats":"2020-01-01T00:00:00.500Z"}}"#, "[]"),
        (r#"{"map":{"a":1}}"#, r#"{"$put":{"map":{"a":2,"b":3}}}"#, r#"{"a":2,"b":3}"#),
        (r#"{"map":{"a":1}}"#, r#"{"$put":{"map":{"a":null}}}"#, "{}"),
        (r#"{}"#, r#"{"$put":{"map":{"a":1}}}"#, r#"{"a":1}"#),
        (r#"{"map":{"a":1,"b":2}}"#, r#"{"$remove":{"map":"a"}}"#, r#"{"b":2}"#),
        (r#"{"map":{"1":1}}"#, r#"{"$remove":{"map":1}}"#, "{}"),
        (r#"{"map":{"a":1}}"#, r#"{"$inc":{"map.a":5}}"#, r#"{"a":6}"#),
        (r#"{"city":{"zip":1,"name":"a"}}"#, r#"{"$set":{"city.zip":2,"city.name":"b"}}"#, r#"{"zip":2,"name":"b"}"#),
        (r#"{}"#, r#"{"$set":{"city.zip":2}}"#, r#"{"zip":2,"name":null}"#),
        (r#"{"city":{"zip":1,"name":"a"}}"#, r#"{"$set":{"city":null}}"#, "null"),
        (r#"{"cities":[{"zip":1,"name":"a"}]}"#, r#"{"$inc":{"cities.0.zip":1}}"#, r#"[{"zip":2,"name":"a"}]"#),
        (r#"{}"#, r#"{"$push":{"cities":{"zip":7}}}"#, r#"[{"zip":7,"name":null}]"#),
        (r#"{}"#, r#"{"$currentDate":{"at":null}}"#, r#""2023-11-14T22:13:20.123Z""#),
        (r#"{}"#, r#"{"$currentDate":{"day":null}}"#, r#""2023-11-14""#),
        (r#"{}"#, r#"{"$currentDate":{"time":null}}"#, r#""22:13:20.123Z""#),
        (r#"{"json":{"a":{"n":1.50}}}"#, r#"{"$set":{"json.b":[]}}"#, r#"{"a":{"n":1.50},"b":[]}"#),
        (r#"{"json":{"a":[1]}}"#, r#"{"$push":{"json.a":2}}"#, r#"{"a":[1,2]}"#),
        (r#"{}"#, r#"{"$set":{"owner":"/db/User/%61"}}"#, r#""/db/User/a""#),
        (r#"{"name":"a"}"#, r#"{"$rename":{"name":"city.name"}}"#, "null"),
    ] {
        assert_eq!(field(before, update).as_deref(), Ok(after), "{before} {update}");
    }
}

#[test]
fn texts_that_the_specs_compare() {
    for (update, text) in [
        (r#"{"$wrongOperation":{"age":42}}"#, "Unsupported update operation $wrongOperation on age"),
        (r#"{"$add":{"count":85}}"#, "Unsupported update operation $add on count"),
        (r#"{"$add":{"list":""}}"#, "Unsupported update operation $add on list"),
        (r#"{"$push":{"set":""}}"#, "Unsupported update operation $push on set"),
        (r#"{"$set":{"city":{"zip":1}}}"#, "The body can't be processed"),
    ] {
        assert_eq!(applied("Lot", "{}", update).unwrap_err().to_string(), text);
    }
}

#[test]
fn what_cannot_be_is_refused_by_kind() {
    use std::mem::discriminant as of;
    let unsupported = UpdateError::Unsupported { operation: String::new(), path: String::new() };
    let operand = UpdateError::Operand { operation: "", path: String::new(), expected: "" };
    let overflow = UpdateError::Overflow { operation: "", path: String::new() };
    let unfit = UpdateError::Unfit(UnfitValue::Grows { path: String::new() });
    let (malformed, conflict) = (UpdateError::Malformed(String::new()), UpdateError::Conflict { one: String::new(), other: String::new() });
    let (metadata, undeclared) = (UpdateError::Metadata(String::new()), UpdateError::Undeclared(String::new()));
    let limit = UpdateError::Limit(String::new());
    let full = r#"{"count":9223372036854775807,"price":1e308,"name":"a","list":["a"],"set":["a"],"map":{"a":1},"owner":"/db/User/a"}"#;
    for (update, error) in [
        (r#"{"$inc":{"name":1}}"#, &unsupported),
        (r#"{"$inc":{"list":1}}"#, &unsupported),
        (r#"{"$pop":{"map":null}}"#, &unsupported),
        (r#"{"$put":{"city":{"zip":1}}}"#, &unsupported),
        (r#"{"$currentDate":{"name":null}}"#, &unsupported),
        (r#"{"$set":{"owner.name":1}}"#, &unsupported),
        (r#"{"$set":{"list.x":1}}"#, &unsupported),
        (r#"{"$set":{"set.0":"x"}}"#, &unsupported),
        (r#"{"$replace":{"list":"x"}}"#, &unsupported),
        (r#"{"$replace":{"set.0":"x"}}"#, &unsupported),
        (r#"{"$and":{"price":1}}"#, &unsupported),
        (r#"{"$inc":{"count":"1"}}"#, &operand),
        (r#"{"$put":{"map":1}}"#, &operand),
        (r#"{"$remove":{"map":{}}}"#, &operand),
        (r#"{"$or":{"count":1.5}}"#, &operand),
        (r#"{"$rename":{"name":1}}"#, &operand),
        (r#"{"$inc":{"count":1}}"#, &overflow),
        (r#"{"$mul":{"count":0.5}}"#, &overflow),
        (r#"{"$mul":{"price":10}}"#, &overflow),
        (r#"{"$set":{"count":"x"}}"#, &unfit),
        (r#"{"$min":{"count":1.5}}"#, &unfit),
        (r#"{"$push":{"list":1}}"#, &unfit),
        (r#"{"$put":{"map":{"a":"x"}}}"#, &unfit),
        (r#"{"$rename":{"name":"count"}}"#, &unfit),
        ("[]", &malformed),
        (r#"{"$set":1}"#, &malformed),
        (r#"{"$set":{"a":1,"a":2}}"#, &malformed),
        (r#"{"$set":{"":1}}"#, &malformed),
        (r#"{"$set":{"acl":7}}"#, &malformed),
        (r#"{"$set":{"city.zip":1},"$rename":{"city":"x"}}"#, &conflict),
        (r#"{"$inc":{"count":1},"$mul":{"count":1}}"#, &conflict),
        (r#"{"$rename":{"name":"name"}}"#, &conflict),
        (r#"{"$inc":{"version":1}}"#, &metadata),
        (r#"{"$set":{"id":"x"}}"#, &metadata),
        (r#"{"$set":{"acl.read":{}}}"#, &metadata),
        (r#"{"$rename":{"name":"id"}}"#, &metadata),
        (r#"{"$set":{"other":1}}"#, &undeclared),
        (r#"{"$set":{"city.other":1}}"#, &undeclared),
        (r#"{"$replace":{"list.100000000000":"x"}}"#, &limit),
    ] {
        let found = applied("Lot", full, update).expect_err(update);
        assert_eq!(of(&found), of(error), "{update}: {found:?}");
        assert!(!found.to_string().is_empty() && !found.code().is_empty());
    }
    let many: Vec<String> = (0..1001).map(|n| format!(r#""f{n}":1"#)).collect();
    assert!(matches!(applied("Open", "{}", &format!(r#"{{"$set":{{{}}}}}"#, many.join(","))), Err(UpdateError::Limit(_))));
}

#[test]
fn untouched_values_keep_their_digits() {
    let before = r#"{"a":1.50,"b":{"c":123456789012345678901234567890,"d":1},"e":[0.10,"x"]}"#;
    assert_eq!(
        applied("Open", before, r#"{"$inc":{"b.d":1},"$push":{"e":2}}"#).unwrap(),
        r#","a":1.50,"b":{"c":123456789012345678901234567890,"d":2},"e":[0.10,"x",2]"#
    );
    assert_eq!(applied("Open", before, "{}").unwrap(), format!(",{}", &before[1..before.len() - 1]));
}

#[test]
fn a_list_of_rights_is_set_as_a_whole() {
    let update = Update::parse(br#"{"$set":{"acl":{"read":{"/db/User/%61":"allow"}}}}"#).unwrap();
    assert!(matches!(update.apply(&whole(""), &schema(), "Open", NOW).unwrap().acl, AclRequest::List(_)));
    assert_eq!(Update::parse(b"{}").unwrap().apply(&whole(""), &schema(), "Open", NOW).unwrap().acl, AclRequest::Keep);
    assert_eq!(Update::parse(br#"{"$set":{"acl":null}}"#).unwrap().acl, AclRequest::Public);
}

#[test]
fn a_single_field() {
    let update = Update::of_field("city.zip", br#"{"$inc":3}"#).unwrap();
    assert!(update.apply(&whole(""), &schema(), "Lot", NOW).unwrap().fields.contains(r#""city":{"zip":3,"name":null}"#));
    assert!(matches!(Update::of_field("count", br#"{"$inc":1,"$mul":2}"#), Err(UpdateError::Conflict { .. })));
    assert!(matches!(Update::of_field("count", br#"{"inc":1}"#), Err(UpdateError::Unsupported { .. })));
}

/// The slow model: a tree of JSON, one operation after the other, nothing shared with what it judges.
mod model {
    use super::*;

    fn child<'v>(at: &'v mut Value, name: &str, create: bool) -> Result<Option<&'v mut Value>, ()> {
        if at.is_null() && create {
            *at = json!({});
        }
        match at {
            Value::Object(map) => {
                if create && !map.contains_key(name) {
                    map.insert(name.to_owned(), Value::Null);
                }
                Ok(map.get_mut(name))
            }
            Value::Null => Ok(None),
            Value::Array(list) => {
                let position: usize = name.parse().map_err(|_| ())?;
                if create {
                    while list.len() <= position {
                        list.push(Value::Null);
                    }
                }
                Ok(list.get_mut(position))
            }
            _ => Err(()),
        }
    }

    fn find<'v>(root: &'v mut Value, path: &[&str], create: bool) -> Result<Option<&'v mut Value>, ()> {
        let mut at = root;
        for name in path {
            match child(at, name, create)? {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    fn arithmetic(operation: &str, a: &Value, b: &Value) -> Result<Value, ()> {
        if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
            let result = match operation {
                "$inc" => a.checked_add(b),
                "$dec" => a.checked_sub(b),
                "$mul" => a.checked_mul(b),
                "$and" => Some(a & b),
                "$or" => Some(a | b),
                _ => Some(a ^ b),
            };
            return result.map(Value::from).ok_or(());
        }
        let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
        let result = match operation {
            "$inc" => a + b,
            "$dec" => a - b,
            "$mul" => a * b,
            _ => return Err(()),
        };
        serde_json::Number::from_f64(result).map(Value::Number).ok_or(())
    }

    pub(super) fn apply(root: &mut Value, operation: &str, path: &str, operand: &Value) -> Result<(), ()> {
        let parts: Vec<&str> = path.split('.').collect();
        let (last, above) = parts.split_last().unwrap();
        match operation {
            "$set" => *find(root, &parts, true)?.unwrap() = operand.clone(),
            "$inc" | "$dec" | "$mul" | "$and" | "$or" | "$xor" | "$min" | "$max" => {
                let at = find(root, &parts, true)?.unwrap();
                if !operand.is_number() || !(at.is_null() || at.is_number()) {
                    return Err(());
                }
                match operation {
                    "$min" if at.is_null() || operand.as_f64() < at.as_f64() => *at = operand.clone(),
                    "$max" if at.is_null() || operand.as_f64() > at.as_f64() => *at = operand.clone(),
                    "$min" | "$max" => {}
                    _ => *at = arithmetic(operation, &if at.is_null() { json!(0) } else { at.clone() }, operand)?,
                }
            }
            "$push" | "$unshift" | "$add" => {
                let at = find(root, &parts, true)?.unwrap();
                if at.is_null() {
                    *at = json!([]);
                }
                let list = at.as_array_mut().ok_or(())?;
                match operation {
                    "$push" => list.push(operand.clone()),
                    "$unshift" => list.insert(0, operand.clone()),
                    _ if list.iter().any(|known| alike(known, operand)) => {}
                    _ => list.push(operand.clone()),
                }
            }
            "$pop" | "$shift" => match find(root, &parts, false)? {
                None | Some(Value::Null) => {}
                Some(Value::Array(list)) if list.is_empty() => {}
                Some(Value::Array(list)) => drop(if operation == "$pop" { list.pop() } else { Some(list.remove(0)) }),
                Some(_) => return Err(()),
            },
            "$replace" => {
                let position: usize = last.parse().map_err(|_| ())?;
                if above.is_empty() {
                    return Err(());
                }
                let at = find(root, above, true)?.unwrap();
                if at.is_null() {
                    *at = json!([]);
                }
                let list = at.as_array_mut().ok_or(())?;
                list.resize(list.len().max(position + 1), Value::Null);
                list[position] = operand.clone();
            }
            "$put" => {
                let at = find(root, &parts, true)?.unwrap();
                if at.is_null() {
                    *at = json!({});
                }
                at.as_object_mut().ok_or(())?.extend(operand.as_object().ok_or(())?.clone());
            }
            "$remove" => match find(root, &parts, false)? {
                None | Some(Value::Null) => {}
                Some(Value::Array(list)) => list.retain(|known| !alike(known, operand)),
                Some(Value::Object(map)) => {
                    let key = match operand {
                        Value::String(key) => key.clone(),
                        Value::Number(_) | Value::Bool(_) => operand.to_string(),
                        _ => return Err(()),
                    };
                    map.remove(&key);
                }
                Some(_) => return Err(()),
            },
            _ => unreachable!(),
        }
        Ok(())
    }

    /// Numbers by value, all else by structure.
    pub(super) fn alike(one: &Value, other: &Value) -> bool {
        match (one, other) {
            (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
            (Value::Array(one), Value::Array(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
            }
            (Value::Object(one), Value::Object(other)) => {
                one.len() == other.len() && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| alike(value, other)))
            }
            _ => one == other,
        }
    }
}

fn value(depth: u32) -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Into::into),
        (-9i64..9).prop_map(Into::into),
        prop_oneof![Just(1.5), Just(0.1), Just(-2.25)].prop_map(|double| json!(double)),
        prop_oneof![Just("a"), Just("b"), Just("0"), Just("2020-01-01T00:00:00Z")].prop_map(Into::into),
    ];
    leaf.prop_recursive(depth, 16, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::btree_map("[ab0]", inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
    .boxed()
}

const OPERATIONS: [&str; 18] = [
    "$set", "$inc", "$dec", "$mul", "$min", "$max", "$and", "$or", "$xor", "$push", "$unshift", "$pop", "$shift", "$replace", "$add",
    "$remove", "$put", "$set",
];

fn steps(paths: &'static str) -> impl Strategy<Value = Vec<(&'static str, String, Value)>> {
    proptest::collection::vec((proptest::sample::select(&OPERATIONS[..]), paths, value(2)), 1..4)
}

/// The body of a request; the same operation's paths stand together.
fn body(steps: &[(&'static str, String, Value)]) -> String {
    let mut body: Map<String, Value> = Map::new();
    for (operation, path, operand) in steps {
        let paths = body.entry(*operation).or_insert_with(|| json!({}));
        paths.as_object_mut().unwrap().insert(path.clone(), operand.clone());
    }
    Value::Object(body).to_string()
}

/// The writer waits for an update: what it costs may grow with what it says and with the object, not with their product.
#[test]
fn long_operands_meet_long_collections() {
    let began = std::time::Instant::now();
    let free = |before: &str, update: &str| applied("Free", before, update).unwrap();
    let list = format!(r#"{{"l":[{}[1]]}}"#, r#""",[2],"#.repeat(100_000));
    let operand = format!("[{}1]", "1,".repeat(500_000));
    assert_eq!(free(&list, &format!(r#"{{"$remove":{{"l":{operand}}}}}"#)).len(), list.len() - 1);
    let map = |from: usize| (from..from + 200_000).map(|n| format!(r#""key-{n}":1"#)).collect::<Vec<_>>().join(",");
    let both = free(&format!(r#"{{"m":{{{}}}}}"#, map(0)), &format!(r#"{{"$put":{{"m":{{{}}}}}}}"#, map(100_000)));
    assert_eq!(both.matches("key-").count(), 300_000);
    assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8 * ProptestConfig::default().cases))]

    #[test]
    fn open_objects_are_as_the_model_has_them(
        before in proptest::collection::btree_map("[a-d]", value(3), 0..4),
        steps in steps("[a-d](\\.[ab0-2]){0,2}"),
    ) {
        let before: Value = Value::Object(before.into_iter().collect());
        let text = before.to_string();
        let update = body(&steps);
        let found = match applied("Open", &text, &update) {
            Err(UpdateError::Conflict { .. }) => return Ok(()),
            found => found,
        };
        let mut expected = before.clone();
        let mut judged: Result<(), ()> = Ok(());
        // In the order in which the body names them: what an earlier one makes, a later one finds.
        let named: Map<String, Value> = serde_json::from_str(&update).unwrap();
        for (operation, paths) in &named {
            for (path, operand) in paths.as_object().unwrap() {
                judged = judged.and_then(|()| model::apply(&mut expected, operation, path, operand));
            }
        }
        match (found, judged) {
            (Ok(fields), Ok(())) => {
                let found: Value = serde_json::from_str(&format!("{{{}}}", fields.get(1..).unwrap_or(""))).unwrap();
                prop_assert!(model::alike(&found, &expected), "{text} {update}: {found} is not {expected}");
                // What is not named keeps its text.
                for (name, value) in before.as_object().unwrap() {
                    if !steps.iter().any(|(_, path, _)| path.split('.').next() == Some(name)) {
                        let kept = format!("{}:{value}", Value::from(name.as_str()));
                        prop_assert!(fields.contains(&kept), "{fields} has lost {kept}");
                    }
                }
            }
            (Err(_), Err(())) => {}
            (found, expected) => prop_assert!(false, "{text} {update}: {found:?}, the model says {expected:?}"),
        }
    }

    #[test]
    fn declared_objects_keep_their_shape_and_what_is_not_named(
        steps in steps("(name|count|price|list|set|map|city|cities|at|day|time|json|ats|owner|other)(\\.[ab0-2]|\\.zip|\\.name){0,2}"),
    ) {
        let schema = schema();
        let before = r#"{"name":"n","count":7,"price":1.50,"list":["a",null],"set":["a"],"map":{"a":1},"city":{"zip":1,"name":"x"},"cities":[{"zip":2,"name":null}],
            "at":"2020-01-01T00:00:00Z","day":"2020-01-01","time":"00:00:00Z","json":{"a":[1.0]},"ats":[],"owner":"/db/User/a"}"#;
        let before = shape::fields(&schema, "Lot", &object_entries(before.as_bytes()).unwrap()).unwrap();
        let Ok(update) = Update::parse(body(&steps).as_bytes()) else { return Ok(()) };
        let Ok(after) = update.apply(&whole(&before), &schema, "Lot", NOW) else { return Ok(()) };
        let object = format!("{{{}}}", &after.fields[1..]);
        let after_entries = object_entries(object.as_bytes()).unwrap();
        prop_assert_eq!(shape::fields(&schema, "Lot", &after_entries).unwrap(), after.fields.clone(), "it has the shape");
        let object = format!("{{{}}}", &before[1..]);
        for ((name, before), (_, after)) in object_entries(object.as_bytes()).unwrap().iter().zip(&after_entries) {
            if !update.steps.iter().any(|step| *step.path.field() == **name) {
                prop_assert_eq!(before.get(), after.get(), "{} is not named", name);
            }
        }
    }

    #[test]
    fn numbers_are_those_of_the_machine(current in any::<f64>(), operand in any::<f64>(), product: bool) {
        prop_assume!(current.is_finite() && operand.is_finite());
        let operation = if product { "$mul" } else { "$inc" };
        let found = field(&json!({"price": current}).to_string(), &json!({operation: {"price": operand}}).to_string());
        let expected = if product { current * operand } else { current + operand };
        match found {
            Ok(text) => prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), expected.to_bits(), "{}", text),
            Err(error) => prop_assert!(!expected.is_finite() && matches!(error, UpdateError::Overflow { .. }), "{error}"),
        }
    }
}
