//! What is at an address of the console, and what is said where nothing is.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue, LOCATION};
use actix_web::web;
use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, ResponseError,
};

use super::problem::Problem;
use super::viewer::inside;

/// The methods of a page, of a form, and of a page whose form is sent to its own address.
const PAGE: &str = "GET, HEAD";
const FORM: &str = "POST";
const BOTH: &str = "GET, HEAD, POST";

/// A page to look at.
pub(super) fn page<F, Args>(path: &str, show: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    only(path, PAGE).route(web::get().to(show))
}

/// Where a form is sent.
pub(super) fn form<F, Args>(path: &str, carry_out: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    only(path, FORM).route(web::post().to(carry_out))
}

/// A page to look at, and a form that is sent to the same address.
pub(super) fn page_and_form<F, Args, G, More>(path: &str, show: F, carry_out: G) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
    G: Handler<More>,
    More: FromRequest + 'static,
    G::Output: Responder + 'static,
{
    only(path, BOTH).route(web::get().to(show)).route(web::post().to(carry_out))
}

/// Refuses all methods of this path that other resources leave.
pub(super) fn no_more_than_a_page(path: &str) -> Resource {
    only(path, PAGE)
}

/// A resource that answers all but these methods with a page which says so.
fn only(path: &str, allowed: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || async move {
        let detail = match allowed {
            FORM => {
                "A form of the console is sent here, and there is nothing to look at.".to_owned()
            }
            _ => format!("This address takes {allowed}."),
        };
        let title = "The method is not allowed here";
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, title, &detail);
        let mut response = problem.error_response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        response
    }))
}

/// What is said where no page is. A slash too many at the end leads to the page without it.
pub(super) async fn nothing_here(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let address = request.uri().path_and_query().map_or("", |target| target.as_str());
    let page = without_slash(address).ok_or_else(Problem::missing)?;
    Ok(HttpResponse::PermanentRedirect().insert_header((LOCATION, page)).finish())
}

/// The address without slashes at the end of its path, if it has any and stays in the console.
fn without_slash(address: &str) -> Option<String> {
    let (path, query) = address.split_at(address.find('?').unwrap_or(address.len()));
    let page = format!("{}{query}", path.trim_end_matches('/'));
    (page != address && inside(&page) == page).then_some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_too_many_leads_to_the_page_and_nowhere_else() {
        for (address, page) in [
            ("/console/", Some("/console")),
            ("/console/tasks/", Some("/console/tasks")),
            ("/console/tasks//", Some("/console/tasks")),
            ("/console/tasks/?search=a/&status=", Some("/console/tasks?search=a/&status=")),
            ("/console/nothing", None),
            ("/console/nothing?next=/", None),
            ("/console//evil.example/", None),
            ("/console/..//evil.example/", None),
            ("/console/%2e%2e/tasks/", None),
        ] {
            assert_eq!(without_slash(address).as_deref(), page, "{address}");
        }
    }
}
