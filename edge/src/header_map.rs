//! Headers across the border between wasm and the runtime, all at once.
//!
//! Every crossing costs about as much as hashing a kilobyte, and a request has a dozen headers each way. So they are
//! written as one JSON text on one side and read on the other, by the runtime's own `JSON` and `Object.fromEntries`.

use js_sys::{Array, JSON, Object};
use std::collections::BTreeMap;
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::Headers;

/// The headers of a request by name in lower case; repeated ones are joined with a comma, as the runtime does.
pub(crate) fn read(headers: &Headers) -> Result<BTreeMap<String, String>, JsValue> {
    let object = Object::from_entries(headers.as_ref())?;
    let text: String = JSON::stringify(&object)?.into();
    serde_json::from_str(&text).map_err(|_| JsValue::NULL)
}

/// The names of an answer's headers, in lower case.
pub(crate) fn names(headers: &Headers) -> Result<Vec<String>, JsValue> {
    let text: String = JSON::stringify(&Array::from(&headers.keys()))?.into();
    serde_json::from_str(&text).map_err(|_| JsValue::NULL)
}

/// New headers.
pub(crate) fn write(map: &BTreeMap<String, String>) -> Result<Headers, JsValue> {
    let text = serde_json::to_string(map).map_err(|_| JsValue::NULL)?;
    Headers::new_with_record_from_str_to_str(JSON::parse(&text)?.unchecked_ref())
}
