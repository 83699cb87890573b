//! What stands around every page: its head, the way to the other pages, and who has signed in.

use actix_web::HttpResponse;
use actix_web::cookie::Cookie;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use maud::{DOCTYPE, Markup, html};

use super::ROOT;
use super::assets::link;
use super::form::proof;
use super::viewer::Viewer;

/// What a page may load: its own files. No script or style stands in a page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The pages that the navigation leads to, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Overview,
    Tasks,
    Board,
    Events,
    DeadLetters,
    Effects,
    Processes,
    Webhooks,
    Audit,
    Doctor,
    Configuration,
    Users,
    Categories,
    Account,
    Demo,
}

/// Who sees a page in the navigation. The API decides what they may do there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Everybody,
    Operators,
    OperatorsOfDemo,
    Users,
}

/// How many entries stand in a row before what is used less goes into the menu.
const IN_A_ROW: usize = 8;

impl Place {
    const ALL: [Place; 15] = [
        Place::Overview,
        Place::Demo,
        Place::Tasks,
        Place::Board,
        Place::Events,
        Place::DeadLetters,
        Place::Effects,
        Place::Processes,
        Place::Webhooks,
        Place::Audit,
        Place::Doctor,
        Place::Configuration,
        Place::Users,
        Place::Categories,
        Place::Account,
    ];

    /// Its address below the console's, its name, and who sees it.
    fn entry(self) -> (&'static str, &'static str, For) {
        match self {
            Place::Overview => ("", "Overview", For::Operators),
            Place::Tasks => ("/tasks", "Tasks", For::Everybody),
            Place::Board => ("/board", "Board", For::Everybody),
            Place::Events => ("/events", "Events", For::Operators),
            Place::DeadLetters => ("/dead-letters", "Dead letters", For::Operators),
            Place::Effects => ("/effects", "Effects", For::Operators),
            Place::Processes => ("/processes", "Processes", For::Operators),
            Place::Webhooks => ("/webhooks", "Webhooks", For::Everybody),
            Place::Audit => ("/audit", "Audit", For::Operators),
            Place::Doctor => ("/doctor", "Doctor", For::Operators),
            Place::Configuration => ("/configuration", "Configuration", For::Operators),
            Place::Users => ("/users", "Users", For::Operators),
            Place::Categories => ("/categories", "Categories", For::Everybody),
            Place::Account => ("/account", "Account", For::Users),
            Place::Demo => ("/demo", "Break it", For::OperatorsOfDemo),
        }
    }

    fn is_seen_by(self, viewer: &Viewer) -> bool {
        match self.entry().2 {
            For::Everybody => true,
            For::Operators => viewer.is_operator(),
            For::OperatorsOfDemo => viewer.is_operator() && viewer.in_demo,
            For::Users => viewer.who.user.is_some(),
        }
    }

    /// Whether it stands in the row also if not all do.
    fn is_used_often(self) -> bool {
        !matches!(
            self,
            Place::Webhooks
                | Place::Audit
                | Place::Doctor
                | Place::Configuration
                | Place::Users
                | Place::Categories
                | Place::Account
        )
    }
}

/// A page: where it is in the navigation, its title, and what changes it.
pub(super) struct Page<'a> {
    pub(super) place: Place,
    pub(super) title: &'a str,
    /// Which changes make it fetch itself again, with commas between them; empty for none.
    pub(super) live: &'a str,
}

impl Page<'_> {
    /// The page with this in it.
    pub(super) fn show(&self, viewer: &Viewer, content: &Markup) -> HttpResponse {
        self.show_as(StatusCode::OK, viewer, content)
    }

    /// The same with another status.
    pub(super) fn show_as(
        &self,
        status: StatusCode,
        viewer: &Viewer,
        content: &Markup,
    ) -> HttpResponse {
        let stream = (!self.live.is_empty()).then(|| format!("{ROOT}/live?topics={}", self.live));
        let body = around(viewer, Some(self.place), stream.as_deref(), self.title, content);
        document(status, self.title, &body, viewer.cookies.clone())
    }
}

/// A page that the navigation does not lead to, for somebody who has signed in.
pub(super) fn unlisted(
    status: StatusCode,
    title: &str,
    viewer: &Viewer,
    content: &Markup,
) -> HttpResponse {
    let body = around(viewer, None, None, title, content);
    document(status, title, &body, viewer.cookies.clone())
}

fn around(
    viewer: &Viewer,
    here: Option<Place>,
    stream: Option<&str>,
    title: &str,
    content: &Markup,
) -> Markup {
    html! {
        a.skip href="#main" { "Skip to the content" }
        header.top {
            a.brand href=(ROOT) { "taskd" }
            (navigation(viewer, here))
            span.live id="state" role="status" { }
            (who(viewer))
        }
        main id="main" tabindex="-1" data-live=[stream] {
            @if let Some(note) = &viewer.note { p.note role="status" { (note) } }
            h1 { (title) }
            (content)
        }
        (help())
    }
}

/// A page for somebody who has not signed in, or who can't be shown more.
pub(super) fn bare(status: StatusCode, title: &str, content: &Markup) -> HttpResponse {
    bare_with(status, title, content, Vec::new())
}

/// The same, with cookies.
pub(super) fn bare_with(
    status: StatusCode,
    title: &str,
    content: &Markup,
    cookies: Vec<Cookie<'static>>,
) -> HttpResponse {
    let body = html! {
        main.bare id="main" { p.brand { "taskd" } h1 { (title) } (content) }
    };
    document(status, title, &body, cookies)
}

fn document(
    status: StatusCode,
    title: &str,
    body: &Markup,
    cookies: Vec<Cookie<'static>>,
) -> HttpResponse {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (title) " · taskd" }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // No scripts in attributes, and no styles of its own: the policy forbids both.
                meta name="htmx-config" content=r#"{"includeIndicatorCSS": false, "history": false}"#;
                link rel="icon" href=(link("icon.svg"));
                link rel="stylesheet" href=(link("console.css"));
                script src=(link("htmx.min.js")) defer {}
                script src=(link("console.js")) defer {}
            }
            body { (body) }
        }
    };
    let mut response = HttpResponse::build(status);
    for cookie in cookies {
        response.cookie(cookie);
    }
    response
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        // Without any referrer, a browser would send forms with `Origin: null`.
        .insert_header((REFERRER_POLICY, "same-origin"))
        .body(page.into_string())
}

/// A row of links, and a menu. On a wide screen the menu has what the row has not; on a narrow one
/// there is no row, and it has all.
fn navigation(viewer: &Viewer, here: Option<Place>) -> Markup {
    let seen: Vec<Place> =
        Place::ALL.into_iter().filter(|place| place.is_seen_by(viewer)).collect();
    let all_fit = seen.len() <= IN_A_ROW;
    let in_row = |place: &Place| all_fit || place.is_used_often() || Some(*place) == here;
    let link = |place: &Place| {
        let (path, name, _) = place.entry();
        let current = (Some(*place) == here).then_some("page");
        html! { a href={ (ROOT) (path) } aria-current=[current] { (name) } }
    };
    html! {
        nav aria-label="Pages" {
            ul.wide { @for place in seen.iter().filter(|place| in_row(place)) { li { (link(place)) } } }
            details.menu.narrow[all_fit] {
                summary { span.wide { "More" } span.narrow { "Menu" } }
                ul { @for place in &seen { li.narrow[in_row(place)] { (link(place)) } } }
            }
        }
    }
}

fn who(viewer: &Viewer) -> Markup {
    html! {
        @match &viewer.who.user {
            Some(user) => {
                form.who method="post" action={ (ROOT) "/sign-out" } {
                    (proof(viewer))
                    span title=(user.email) { bdi { (user.name()) } " (" (viewer.who.role.as_str()) ")" }
                    button type="submit" { "Sign out" }
                }
            }
            None => { span.who title="TASKD_AUTH=none" { "no sign-in (local)" } }
        }
    }
}

/// The keys, for who asks with `?`.
fn help() -> Markup {
    let keys = [
        ("/", "go to the search or the first filter"),
        ("j k", "the next and the previous row"),
        ("Enter", "open the row"),
        ("g o, g t, g b, g e", "overview, tasks, board, events"),
        ("g d, g f, g p", "dead letters, effects, processes"),
        ("?", "this list"),
    ];
    html! {
        dialog id="help" aria-labelledby="help-title" {
            h2 id="help-title" { "Keys" }
            dl { @for (key, what) in keys { dt { kbd { (key) } } dd { (what) } } }
            form method="dialog" { button { "Close" } }
        }
    }
}
