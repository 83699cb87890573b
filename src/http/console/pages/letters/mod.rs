//! Dead letters: by cause first, then one by one; replays, and what to do with a letter.

mod groups;
mod group;
mod letter;
mod edit;
mod orders;
mod replay;

use actix_web::web::{self, ServiceConfig};
use maud::html;

use crate::dead_letters::DeadLetter;
use crate::http::console::ROOT;
use crate::http::console::parts::{Row, badge, time_or};

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/dead-letters", web::get().to(groups::show))
        .route("/dead-letters/groups/{group}", web::get().to(group::show))
        .service(
            web::resource("/dead-letters/replays")
                .route(web::get().to(replay::list))
                .route(web::post().to(orders::replay)),
        )
        .route("/dead-letters/replays/{id}", web::get().to(replay::show))
        .route("/dead-letters/replays/{id}/{order}", web::post().to(orders::steer))
        .route("/dead-letters/discard", web::post().to(orders::discard))
        .route("/dead-letters/letters", web::get().to(letter::list))
        .route("/dead-letters/letters/{id}", web::get().to(letter::show))
        .service(
            web::resource("/dead-letters/letters/{id}/edit")
                .route(web::get().to(edit::ask))
                .route(web::post().to(edit::send)),
        );
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
