//! The one list of the types of events that taskd makes.

use std::sync::LazyLock;

use crate::domain::canary;
use crate::domain::event::EventTypes;
use crate::domain::task::events::{CREATED, DELETED, UPDATED};
use crate::domain::webhook::events::{DISABLED, FAILING};

/// The types of taskd's events. To add one, define it beside its subject and add it here.
#[expect(clippy::expect_used, reason = "the list is compiled in, and a test makes it")]
pub fn built_in() -> EventTypes {
    static TYPES: LazyLock<EventTypes> = LazyLock::new(|| {
        let types = [CREATED, UPDATED, DELETED, FAILING, DISABLED];
        types
            .into_iter()
            .try_fold(EventTypes::default(), EventTypes::with)
            .expect("the types have different names and valid schemas")
    });
    TYPES.clone()
}

/// What workers know: these, and canaries, which nobody else is told of.
#[expect(clippy::expect_used, reason = "the list is compiled in, and a test makes it")]
pub fn of_workers() -> EventTypes {
    static TYPES: LazyLock<EventTypes> =
        LazyLock::new(|| built_in().with(canary::SENT).expect("no other type has this name"));
    TYPES.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_a_schema_that_names_it() {
        let types = built_in();
        for event_type in types.iter() {
            let schema = types.schema(event_type.name).unwrap();
            assert_eq!(schema["properties"]["type"]["const"], event_type.name);
        }
        assert!(types.iter().count() >= 5);
        assert!(types.find(canary::SENT.name).is_none());
        let event = crate::domain::event::Event::from(canary::event());
        let id = event.metadata.event_id.to_string();
        let decoded = of_workers().decode(&event.encode(), Some(&id), Some(canary::SENT.name));
        assert_eq!(decoded.unwrap().subject, event.subject);
    }
}
