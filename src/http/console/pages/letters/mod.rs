//! Dead letters: by cause first, then one by one; replays, and what to do with a letter.

mod groups;
mod group;
mod letter;
mod edit;
mod orders;
mod replay;

use actix_web::web::ServiceConfig;
use maud::html;

use crate::dead_letters::DeadLetter;
use crate::http::console::ROOT;
use crate::http::console::addresses::{form, page, page_and_form};
use crate::http::console::parts::{Row, badge, time_or};

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(page("/dead-letters", groups::show))
        .service(page("/dead-letters/groups/{group}", group::show))
        .service(page_and_form("/dead-letters/replays", replay::list, orders::replay))
        .service(page("/dead-letters/replays/{id}", replay::show))
        .service(form("/dead-letters/replays/{id}/{order}", orders::steer))
        .service(form("/dead-letters/discard", orders::discard))
        .service(page("/dead-letters/letters", letter::list))
        .service(page("/dead-letters/letters/{id}", letter::show))
        .service(page_and_form("/dead-letters/letters/{id}/edit", edit::ask, edit::send));
}

/// The address of a letter's page.
fn address(letter: &str) -> String {
    format!("{ROOT}/dead-letters/letters/{}", crate::http::console::client::segment(letter))
}

/// The address of a group's page.
pub(super) fn group_address(group: &str) -> String {
    format!("{ROOT}/dead-letters/groups/{}", crate::http::console::client::segment(group))
}

/// The head of a table of letters.
const HEADS: [&str; 5] = ["Letter", "State", "About", "~Error", "Died"];

fn row(letter: &DeadLetter) -> Row {
    let name = letter.event_type.as_deref().unwrap_or("a message");
    let about = html! {
        @match letter.task_id {
            Some(task) => { a href={ (ROOT) "/tasks/" (task) } { "task " (task) } }
            None => { span.faint { "unknown" } }
        }
    };
    Row::named(
        format!("letter-{}", letter.id),
        [
            html! { a href=(address(&letter.id)) { (name) } },
            badge(&letter.state),
            about,
            html! { span.clip { (letter.error.as_deref().unwrap_or(&letter.reason)) } },
            time_or(letter.died_at.as_ref(), "unknown"),
        ],
    )
}
