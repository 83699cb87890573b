//! Extractors: what handlers take out of a request, already checked.

/// Describes an extractor in the OpenAPI document like the framework's own for the same thing.
macro_rules! described_as {
    ($ours:ty, $theirs:ty, $($bound:tt)*) => {
        impl<$($bound)*> ::paperclip::v2::schema::Apiv2Schema for $ours {}
        impl<$($bound)*> ::paperclip::actix::OperationModifier for $ours {
            fn update_parameter(operation: &mut ::paperclip::v2::models::DefaultOperationRaw) {
                <$theirs as ::paperclip::actix::OperationModifier>::update_parameter(operation);
            }
            fn update_definitions(map: &mut std::collections::BTreeMap<String, ::paperclip::v2::models::DefaultSchemaRaw>) {
                <$theirs as ::paperclip::actix::OperationModifier>::update_definitions(map);
            }
        }
    };
}

pub(in crate::http) mod body;
pub mod caller;
pub mod cursor;
pub(in crate::http) mod fields;
pub(in crate::http) mod hints;
pub(in crate::http) mod idempotency_key;
pub(in crate::http) mod ids;
pub(in crate::http) mod json;
pub(in crate::http) mod moment;
pub(in crate::http) mod paging;
pub(in crate::http) mod preconditions;
pub(in crate::http) mod words;
