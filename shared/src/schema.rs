//! JSON Schemas (2020-12) of the texts that the wire types are made of, for the issuer's OpenAPI document. Only with the feature
//! `schema`: the rules need none of it.

use crate::error::ErrorCode;
use crate::id::{
    AccountId, AppointmentId, ClientId, DeviceId, EdgeId, GrantId, KeyId, Kid, MerchantId, OrganizationId,
    RequestId, SessionId, TokenId,
};
use crate::permission::Permission;
use crate::role::RoleName;
use crate::time::UnixMs;
use crate::x_address::XAddress;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

macro_rules! texts {
    ($($name:ident: $pattern:literal;)+) => {$(
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    )+};
}

texts! {
    MerchantId: "^[A-Za-z0-9._-]{1,64}$";
    AccountId: "^[A-Za-z0-9._-]{1,64}$";
    KeyId: "^[A-Za-z0-9._-]{1,64}$";
    ClientId: "^[A-Za-z0-9._-]{1,64}$";
    SessionId: "^[A-Za-z0-9._-]{1,64}$";
    TokenId: "^[A-Za-z0-9._-]{1,64}$";
    EdgeId: "^[A-Za-z0-9._-]{1,64}$";
    Kid: "^[A-Za-z0-9._-]{1,64}$";
    GrantId: "^[A-Za-z0-9._-]{1,64}$";
    AppointmentId: "^[A-Za-z0-9._-]{1,64}$";
    DeviceId: "^[A-Za-z0-9._-]{1,64}$";
    OrganizationId: "^[A-Za-z0-9._-]{1,64}$";
    RequestId: "^[A-Za-z0-9._-]{1,64}$";
    RoleName: "^[a-z][a-z0-9._-]{0,63}$";
    XAddress: "^x:[a-z][a-z0-9._-]{2,63}$";
    Permission: "^[a-z0-9._:-]{1,64}$|^[a-z0-9._:-]{1,62}:\\*$";
}

impl JsonSchema for UnixMs {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "UnixMs".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "description": "Unix time in milliseconds, UTC." })
    }
}

impl JsonSchema for ErrorCode {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "ErrorCode".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let codes: Vec<&str> = Self::ALL.iter().map(|code| code.as_str()).collect();
        json_schema!({ "type": "string", "enum": codes })
    }
}
