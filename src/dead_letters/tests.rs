use super::*;
use crate::domain::processing::retry::DeadReason;

fn letter() -> Message {
    let mut letter = Message {
        body: b"\xffno".to_vec(),
        message_id: Some("event".into()),
        ..Message::default()
    };
    letter.set_attempt(6);
    letter.set_text(message::DEAD_ID, "letter");
    letter.set_text(message::DEAD_REASON, DeadReason::Exhausted.as_str());
    letter.set_text(message::HISTORY, "[]");
    letter
}

#[test]
fn a_letter_is_found_by_its_own_id_and_by_its_events() {
    for id in ["letter", "event"] {
        let selection = Selection::Ids(vec![id.into(), "other".into()]);
        assert!(selection.has(&letter()));
        assert_eq!(selection.missed(&[DeadLetter::of(&letter(), &catalog::built_in())]), ["other"]);
    }
    assert!(!Selection::Ids(vec!["other".into()]).has(&letter()));
}

#[test]
fn a_revived_letter_begins_anew_and_keeps_its_history() {
    let revived = revived(&letter());
    assert_eq!(revived.attempt(), 1);
    assert_eq!(revived.headers.keys().collect::<Vec<_>>(), [message::HISTORY]);
    assert_eq!(revived.body, letter().body);
}

#[test]
fn a_letter_of_the_brokers_own_has_an_id_and_a_reason_too() {
    let mut message = Message { body: b"x".to_vec(), ..Message::default() };
    message.set_aside = Some(DeadReason::DeliveryLimit.as_str().to_owned());
    let letter = DeadLetter::of(&message, &catalog::built_in());
    assert_eq!(letter.reason, DeadReason::DeliveryLimit.as_str());
    assert_eq!(letter.id, "body-af63f54c86021707");
}
