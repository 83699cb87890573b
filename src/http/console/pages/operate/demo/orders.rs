//! The forms of the page, as orders to the API.

use actix_web::HttpResponse;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::http::console::ROOT;
use crate::http::console::form::Form;
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;

/// The route of the API for an order, its body, and what is said when it is done.
fn meant(order: (&str, &str), form: &Form) -> Option<(&'static str, Value, &'static str)> {
    let mail = |failing: Value, for_good| json!({ "failing": failing, "forGood": for_good });
    let count = || json!({ "count": form.number("count") });
    let nothing = || json!({});
    Some(match order {
        ("worker", "stop") => {
            ("/demo/worker/stop", nothing(), "The workers finish what they have, and stop.")
        }
        ("worker", "start") => ("/demo/worker/start", nothing(), "The workers work again."),
        ("worker", "freeze") => (
            "/demo/worker/freeze",
            nothing(),
            "The worker that sends the next mail freezes. The other takes over when the lease has ended, in half a minute.",
        ),
        ("broker", "hold") => ("/demo/broker/hold", nothing(), "The broker is away."),
        ("broker", "release") => ("/demo/broker/release", nothing(), "The broker is back."),
        ("mail", "fail") => {
            ("/demo/mail", mail(form.number("failing"), false), "Mail fails, and is tried again.")
        }
        ("mail", "refuse") => {
            ("/demo/mail", mail(form.number("failing"), true), "Mail is refused for good.")
        }
        ("mail", "mend") => ("/demo/mail", mail(json!(0), false), "Mail works."),
        ("duplicates", "publish") => {
            ("/demo/duplicates", count(), "Copies of what is done are in the queue.")
        }
        ("garbage", "publish") => ("/demo/garbage", count(), "Garbage is in the queue."),
        ("trickle", "pause") => ("/demo/trickle/pause", nothing(), "The people rest."),
        ("trickle", "resume") => ("/demo/trickle/resume", nothing(), "The people go on."),
        ("everything", "mend") => ("/demo/mend", nothing(), "Every fault has ended."),
        _ => return None,
    })
}

pub(in crate::http::console::pages::operate) async fn order(
    viewer: Viewer,
    form: Form,
) -> Result<HttpResponse, Problem> {
    let (fault, order) = (viewer.segment("fault"), viewer.segment("order"));
    let (path, body, note) = meant((&fault, &order), &form).ok_or_else(Problem::missing)?;
    let _: IgnoredAny = viewer.client.post(path, &body).await?;
    Ok(viewer.go(&format!("{ROOT}/demo"), note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_form_says_goes_into_the_order() {
        let form = Form::of(vec![("failing".to_owned(), "30".to_owned())]);
        let (path, body, _) = meant(("mail", "refuse"), &form).unwrap();
        assert_eq!((path, body), ("/demo/mail", json!({ "failing": 30, "forGood": true })));
        let (_, body, _) = meant(("garbage", "publish"), &form).unwrap();
        assert_eq!(body, json!({ "count": null }), "the API says what is missing");
        assert!(meant(("worker", "mend"), &form).is_none());
    }
}
