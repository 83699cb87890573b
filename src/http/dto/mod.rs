//! The bodies of requests and responses, with the rules for those of requests.
//!
//! Bodies are read member by member; `Deserialize` only gives the OpenAPI document its names.

/// Describes a type of the domain as a text in the OpenAPI document. Its names come from the rules.
macro_rules! described_as_text {
    ($type:ty) => {
        impl ::paperclip::v2::schema::Apiv2Schema for $type {
            fn raw_schema() -> ::paperclip::v2::models::DefaultSchemaRaw {
                ::paperclip::v2::models::DefaultSchemaRaw {
                    data_type: Some(::paperclip::v2::models::DataType::String),
                    ..Default::default()
                }
            }
        }
    };
}

mod access;
mod activity;
mod category;
mod change;
mod event;
mod task;
mod user;

pub use access::{
    CurrentSessionView, NewTokenView, OpenSessionView, SessionInput, SessionView, TokenInput,
    TokenView,
};
pub use activity::{ActivityView, MailView};
pub use category::{CategoryInput, CategoryPatch, CategoryView};
pub use change::{ChangePage, ChangeView};
pub use event::{EffectView, EventDetailView, EventView, StoryLineView};
pub use task::{Moment, TaskInput, TaskPatch, cleared};
pub use user::{UserInput, UserPatch, UserView};

use paperclip::actix::Apiv2Schema;
use serde::Serialize;

use crate::domain::task::Task;
use crate::domain::text::shows_something;
use crate::http::extract::paging::page;

/// Defines the page of a list.
macro_rules! page {
    ($name:ident of $item:ty, $text:literal) => {
        #[doc = $text]
        #[derive(Debug, Serialize, Apiv2Schema)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// The rows of this page.
            pub data: Vec<$item>,
            /// What to pass as `cursor` for the next page; null on the last.
            pub next_cursor: Option<String>,
            /// How many rows pass the filters on all pages; only with `total=true`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub total: Option<i64>,
        }

        impl $name {
            /// Makes a page from `read` rows: one more than the page has, to know whether there is
            /// another.
            pub fn of<R, P>(
                rows: Vec<R>,
                read: i64,
                place: impl Fn(&R) -> P,
                total: Option<i64>,
            ) -> $name
            where
                R: Into<$item>,
                P: Serialize,
            {
                let (rows, next_cursor) = page(rows, read, place);
                $name { data: rows.into_iter().map(Into::into).collect(), next_cursor, total }
            }
        }
    };
}
page!(TaskPage of Task, "A page of tasks.");
page!(UserPage of UserView, "A page of users.");
page!(CategoryPage of CategoryView, "A page of categories.");
page!(TokenPage of TokenView, "A page of API tokens.");
page!(SessionPage of OpenSessionView, "A page of sessions.");
page!(EventPage of EventView, "A page of events, newest first.");
page!(ActivityPage of ActivityView, "A page of a task's activity, newest first.");

fn not_blank(text: &str, _: &()) -> garde::Result {
    if text.is_empty() || shows_something(text) {
        Ok(())
    } else {
        Err(garde::Error::new("must not be blank"))
    }
}
