use super::*;

fn parse(text: &str) -> Result<ServiceUrl, String> {
    ServiceUrl::parse(text, &["db", "dbs"], "db://user:password@host/name")
}

/// The user, the password, the host and the path.
fn parts(text: &str) -> (String, String, String, String) {
    let url = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let host = url.hosts.first().cloned().unwrap_or_default().0;
    (url.user.unwrap_or_default(), url.password.unwrap_or_default(), host, url.path)
}

#[test]
fn a_password_goes_to_no_other_place_whatever_is_in_it() {
    for (written, meant) in [
        ("p", "p"),
        ("p@ss", "p@ss"),
        ("p$w", "p$w"),
        ("p@s@s", "p@s@s"),
        ("p:w", "p:w"),
        ("p?w", "p?w"),
        ("p#w", "p#w"),
        ("p/w", "p/w"),
        ("p&=;!*'()", "p&=;!*'()"),
        ("%40%24%2f%3F%23%25", "@$/?#%"),
        ("p%20w", "p w"),
        ("é%C3%A9", "éé"),
        ("", ""),
    ] {
        for (tail, path) in [("", ""), ("/d", "d"), ("/d?a=b", "d"), ("?a=b", "")] {
            let text = format!("db://u:{written}@h{tail}");
            let expected = ("u".into(), meant.to_owned(), "h".into(), path.to_owned());
            assert_eq!(parts(&text), expected, "{text}");
            let again = parse(&parse(&text).unwrap().encoded());
            assert_eq!(again.unwrap(), parse(&text).unwrap());
        }
    }
}

#[test]
fn what_could_be_two_things_is_refused_and_not_repeated() {
    for text in [
        "db://u:123/hunter2@h/d",
        "db://u:123?hunter2@h/d",
        "db://u:123#hunter2@h/d",
        "db://u:p@ss/hunter2@h/d",
        "db://u:hunter2@h/a/b",
        "db://u:hunter2@h/d#x",
        "db://u:hunter2@h:port/d",
        "db://u:hunter2@h:0/d",
        "db://u:hunter2@h:+1/d",
        "db://u:hunter2@[::1]5/d",
        "db://u:hunter2%zz@h/d",
        "db://u:hunter2%ff@h/d",
        "db://u:hunter2%00@h/d",
        "db://u:hunter2 @h/d",
        "db://u:hunter2@:1/d",
        "hunter2",
        "other://u:hunter2@h",
    ] {
        let error = parse(text).unwrap_err();
        assert!(!error.contains("hunter2"), "{text}: {error}");
    }
    assert!(parse("h/d").unwrap_err().contains("db://user:password@host/name"));
}

#[test]
fn hosts_have_ports_and_brackets() {
    let hosts = |text: &str| parse(text).unwrap().hosts;
    assert_eq!(hosts("DB://h"), [("h".to_owned(), None)]);
    assert_eq!(hosts("db://h:"), [("h".to_owned(), None)]);
    assert_eq!(hosts("db://u@[::1]:7/d"), [("::1".to_owned(), Some(7))]);
    assert_eq!(hosts("db://a:1,b"), [("a".to_owned(), Some(1)), ("b".to_owned(), None)]);
    assert_eq!(hosts("db://%2Frun%2Fpg/d"), [("/run/pg".to_owned(), None)]);
    assert_eq!(hosts("db://"), []);
    assert!(parse("db://a,b").unwrap().host().is_err());
}

#[test]
fn parameters_are_decoded_and_passwords_are_not_shown() {
    let url = parse("dbs://u:hunter2@h:1/d%20e?ssl%6Dode=re%71uire&x&password=hunter2").unwrap();
    let expected = [("sslmode", "require"), ("x", ""), ("password", "hunter2")];
    assert_eq!(url.parameters, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    assert_eq!(
        format!("{url} {url:?}")
            .replace("dbs://u:***@h:1/d%20e?sslmode=require&x=&password=***", "."),
        ". ."
    );
    assert_eq!(parse("db://u@h").unwrap().to_string(), "db://u@h");
    assert_eq!(parse("db://:p@h/0\n").unwrap().to_string(), "db://:***@h/0");
}
