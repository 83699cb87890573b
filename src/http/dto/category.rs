//! Categories.

use chrono::{DateTime, Utc};
use garde::Validate;
use paperclip::actix::Apiv2Schema;
use serde::{Deserialize, Serialize};

use super::not_blank;
use crate::domain::field::CATEGORY_NAME;
use crate::http::extract::fields::{Fields, FromFields, Patch};
use crate::store::categories::Category;

/// A category to be made, or its new state.
#[derive(Debug, Validate, Deserialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
pub struct CategoryInput {
    /// Unique.
    #[garde(length(chars, min = CATEGORY_NAME.min, max = CATEGORY_NAME.max), custom(not_blank))]
    pub name: String,
}

impl FromFields for CategoryInput {
    fn from_fields(fields: &mut Fields) -> CategoryInput {
        let input = CategoryInput { name: fields.required("name") };
        fields.validate(&input);
        input
    }
}

/// A change of a category, as a merge patch (RFC 7396).
#[derive(Debug, Deserialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
pub struct CategoryPatch {
    /// Unique.
    pub name: Patch<String>,
}

impl FromFields for CategoryPatch {
    const MEDIA_TYPES: &'static [&'static str] =
        &["application/merge-patch+json", "application/json"];

    fn from_fields(fields: &mut Fields) -> CategoryPatch {
        let name: Option<String> = fields.unless_absent("name");
        fields.validate(&CategoryInput { name: name.clone().unwrap_or_else(|| "right".into()) });
        CategoryPatch { name: name.map_or(Patch::Absent, Patch::Set) }
    }
}

/// A category.
#[derive(Debug, Serialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
#[openapi(rename = "Category")]
pub struct CategoryView {
    /// Assigned by the database.
    pub id: i64,
    /// Unique.
    pub name: String,
    /// When the category was made.
    pub created_at: DateTime<Utc>,
    /// When it changed last.
    pub updated_at: DateTime<Utc>,
}

impl From<Category> for CategoryView {
    fn from(category: Category) -> CategoryView {
        CategoryView {
            id: category.id,
            name: category.name,
            created_at: category.created_at,
            updated_at: category.updated_at,
        }
    }
}
