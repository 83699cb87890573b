//! Who is in the story, and what they have to do. All of it is made up.

use serde_json::{Value, json};

/// Somebody in the story.
pub(super) struct Person {
    /// The address, which tells the people apart.
    pub(super) email: &'static str,
    /// The name.
    pub(super) name: &'static str,
}

const fn person(email: &'static str, name: &'static str) -> Person {
    Person { email, name }
}

/// The people. The first is an admin, and gives tasks to the others.
pub(super) const PEOPLE: [Person; 7] = [
    person("ada@example.com", "Ada Okafor"),
    person("bjorn@example.com", "Björn Lindqvist"),
    person("chiara@example.com", "Chiara Romano"),
    person("hanako@example.com", "山田 花子"),
    person("noor@example.com", "نور حداد"),
    person("lukasz@example.com", "Łukasz Wiśniewski"),
    person("zoe@example.com", "Zoë van Dijk"),
];

/// What tasks are about.
pub(super) const CATEGORIES: [&str; 5] = ["Release 2.4", "Bugs", "Customers", "On call", "Office"];

/// Titles of tasks, each with the place of its category in [`CATEGORIES`].
const TITLES: [(usize, &str); 48] = [
    (0, "Write the release notes"),
    (0, "Freeze the branch for 2.4"),
    (0, "🚀 Ship 2.4 to the first ten customers"),
    (0, "Run the migration on a copy of production"),
    (0, "Compare the query plans before and after"),
    (0, "日本語の翻訳を校正する"),
    (0, "Update the screenshots in the guide"),
    (0, "Check that the rollback works"),
    (0, "Measure the start-up time on a small machine"),
    (0, "Tell the partners about the new API version"),
    (1, "Export fails for names with an apostrophe"),
    (1, "The calendar is a day off in Auckland"),
    (1, "Search finds nothing for \"ß\""),
    (1, "Der Knopf „Löschen“ fragt zweimal nach"),
    (1, "Scrolling jumps to the top after saving"),
    (1, "The invoice shows the price without tax"),
    (1, "Uploads over 2 GB stop at 99 %"),
    (1, "Dark mode: white text on a white background"),
    (1, "登录后会跳转到错误的页面"),
    (1, "The e-mail footer links to the old address"),
    (2, "Call Harbour & Sons about their import"),
    (2, "Prepare the demo for the city library"),
    (2, "Answer the questionnaire about security"),
    (2, "Relancer la mairie de Lyon pour le contrat"),
    (2, "Send the offer to Nordlicht GmbH"),
    (2, "Find out why Kanto Foods left"),
    (2, "Ask three customers about the new lists"),
    (2, "Подготовить отчёт для заказчика"),
    (2, "Thank the university for the bug report"),
    (2, "Agree on a date for the training in Porto"),
    (3, "Look at the slow requests of last night"),
    (3, "Renew the certificate of the status page"),
    (3, "Write down what happened on Tuesday"),
    (3, "Raise the alert for the queue's age"),
    (3, "Restore a backup, and time it"),
    (3, "Hand over the on-call phone ☎️"),
    (3, "مراجعة تنبيهات نهاية الأسبوع"),
    (3, "Clean up the dashboards nobody opens"),
    (3, "Move the log archive to the cheaper storage"),
    (4, "🎂 A cake for Chiara's birthday"),
    (4, "Order two desks and a lamp"),
    (4, "Water the plants while Zoë is away"),
    (4, "Book the room for the summer party"),
    (4, "Zaktualizować listę kontaktów"),
    (4, "Find a better place for the coffee machine"),
    (4, "Collect ideas for the Friday talk"),
    (4, "Return the borrowed projector"),
    (4, "Plan the bicycle tour 🚲"),
];

/// What people add when they know more.
const REMARKS: [&str; 10] = [
    "Waits for an answer until Thursday.",
    "Half of it is done; the rest is easy.",
    "Talk to Björn first, he did the last one.",
    "See the notes of Monday's meeting.",
    "It is bigger than we thought.",
    "Can be tried on the test system now.",
    "The customer has sent a file that shows it.",
    "Hanako has a script for this.",
    "Nobody could reproduce it so far.",
    "Two people asked for it this week.",
];

/// A task that somebody has to do: its title, and the place of its category. Different numbers give
/// different tasks, for a while.
pub(super) fn task(number: usize) -> (&'static str, usize) {
    // A step that shares no factor with the count visits all of them before one comes again.
    const STEP: usize = 29;
    let (category, title) = TITLES[number.wrapping_mul(STEP) % TITLES.len()];
    (title, category)
}

/// Something to add to a task.
pub(super) fn remark(number: usize) -> Value {
    json!(REMARKS[number % REMARKS.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_task_comes_once_before_one_comes_again() {
        let titles: BTreeSet<&str> = (0..TITLES.len()).map(|number| task(number).0).collect();
        assert_eq!(titles.len(), TITLES.len());
        assert!((0..TITLES.len()).all(|number| task(number).1 < CATEGORIES.len()));
        let addresses: BTreeSet<&str> = PEOPLE.iter().map(|person| person.email).collect();
        assert_eq!(addresses.len(), PEOPLE.len());
    }
}
