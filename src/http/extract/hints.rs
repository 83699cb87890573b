//! Hints for people who know other APIs: a name that is unknown here often exists under another.

use crate::http::error::RequestPart;

/// Names that other APIs use, the name here, and the hint.
const PARAMETERS: [(&[&str], &str, &str); 6] = [
    (
        &["page", "offset", "skip", "start", "after", "before", "pageToken", "next"],
        "cursor",
        "lists go on from page to page: pass the nextCursor of the page before as cursor",
    ),
    (
        &["per_page", "perPage", "pageSize", "page_size", "size", "count", "take", "max", "first"],
        "limit",
        "limit says how many rows a page has",
    ),
    (
        &["order", "orderBy", "order_by", "sortBy", "sort_by", "direction", "dir", "ordering"],
        "sort",
        "sort has the field and its direction, as in sort=-dueAt for descending",
    ),
    (
        &["q", "query", "text", "filter", "title", "description"],
        "search",
        "search looks into titles and descriptions",
    ),
    (&["user", "assignee", "owner", "assigneeId", "ownerId"], "userId", "userId says whose"),
    (&["state", "done", "completed"], "status", "status says where the work stands"),
];

/// The same for members of a body.
const MEMBERS: [(&[&str], &str, &str); 6] = [
    (&["name", "summary", "subject", "text"], "title", "a task has a title"),
    (
        &["body", "details", "notes", "content"],
        "description",
        "more about a task is its description",
    ),
    (&["due", "dueDate", "deadline", "due_date"], "dueAt", "when it is due is dueAt"),
    (&["assignee", "user", "owner", "assigneeId", "ownerId"], "userId", "whose it is is userId"),
    (&["state", "done", "completed"], "status", "where the work stands is status"),
    (
        &["oldPassword", "old_password", "passwordOld"],
        "currentPassword",
        "the password there is goes into currentPassword",
    ),
];

/// Members that only the server sets.
const OF_THE_SERVER: [&str; 5] = ["id", "version", "createdAt", "updatedAt", "completedAt"];

/// The message for an unknown name, where `known` are the names there are.
pub(in crate::http) fn unknown(part: RequestPart, name: &str, known: &[&'static str]) -> String {
    if known.is_empty() {
        let there_are = if part == RequestPart::Query { "parameters" } else { "members" };
        return format!("is not known here; there are no {there_are}");
    }
    let all = format!("is not known here; there are: {}", known.join(", "));
    let folded = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
    if let Some(meant) = known.iter().find(|known| folded(known) == folded(name)) {
        return format!("{all}. It is written {meant}");
    }
    if part == RequestPart::Body && OF_THE_SERVER.contains(&name) {
        return format!("{all}. The server sets {name}");
    }
    let table = if part == RequestPart::Query { &PARAMETERS } else { &MEMBERS };
    let hint = table.iter().find(|(names, here, _)| names.contains(&name) && known.contains(here));
    hint.map_or(all.clone(), |(_, _, hint)| format!("{all}. Here {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knows_another_api_is_told_what_it_is_here() {
        let list = ["limit", "cursor", "sort"];
        let page = unknown(RequestPart::Query, "page", &list);
        assert!(
            page.contains("there are: limit, cursor, sort") && page.contains("nextCursor"),
            "{page}"
        );
        assert!(unknown(RequestPart::Query, "order", &list).contains("sort=-dueAt"));
        let body = ["title", "userId", "dueAt"];
        assert!(unknown(RequestPart::Body, "user_id", &body).ends_with("It is written userId"));
        assert!(unknown(RequestPart::Body, "version", &body).ends_with("The server sets version"));
        assert!(unknown(RequestPart::Body, "due_date", &body).contains("is dueAt"));
        // No hint at a name that doesn't exist here.
        assert!(unknown(RequestPart::Query, "q", &list).ends_with("sort"));
        assert!(unknown(RequestPart::Query, "x", &[]).ends_with("there are no parameters"));
    }
}
