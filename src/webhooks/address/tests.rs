use super::*;

/// Spellings of hosts that lead where no webhook may go.
const FORBIDDEN: [&str; 66] = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "0x7f.0.0.1",
    "0x7f.1",
    "0x7f000001",
    "0177.0.0.1",
    "0177.0.0.01",
    "017700000001",
    "2130706433",
    "0",
    "0.0.0.0",
    "0.1.2.3",
    "00",
    "0x0",
    "127.0.0.1.",
    "%31%32%37.0.0.1",
    "127。0。0。1",
    "１２７.0.0.1",
    "①②⑦.⓪.⓪.①",
    "10.0.0.1",
    "10.255.255.255",
    "012.0.0.1",
    "167772161",
    "0x0a000001",
    "172.16.0.1",
    "172.31.255.255",
    "0xac100001",
    "192.168.0.1",
    "192.168.257",
    "3232235521",
    "169.254.169.254",
    "169.254.43518",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "168.63.129.16",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:10.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2001::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
];

#[test]
fn no_spelling_leads_inside() {
    let reach = Reach::default();
    for host in FORBIDDEN {
        let url = format!("https://{host}/hook");
        let refused = reach.read(&url).unwrap_err();
        assert!(refused.0.contains("public internet"), "{host}: {refused}");
    }
    for host in ["[ff02::1]", "[2001:db8::1]", "[100::1]", "[3fff::1]", "[5f00::1]"] {
        assert!(reach.read(&format!("https://{host}/hook")).is_err(), "{host}");
    }
}

#[test]
fn the_public_internet_is_reached() {
    let reach = Reach::default();
    for host in [
        "example.com",
        "EXAMPLE.com:8443",
        "bücher.example",
        "8.8.8.8",
        "1.1.1.1",
        "172.15.255.255",
        "172.32.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "192.167.255.255",
        "[2606:4700:4700::1111]",
        "[2a00:1450:4001:81b::200e]",
        // A name may be anything: what it leads to is seen when it is connected to.
        "localhost",
        "metadata.google.internal",
    ] {
        assert!(reach.read(&format!("https://{host}/hook")).is_ok(), "{host}");
    }
}

#[test]
fn what_is_allowed_is_reached_also_without_tls() {
    let reach = Reach::with("127.0.0.0/8,fd00::/8".parse().unwrap());
    for url in ["http://127.0.0.1:8080/", "https://127.0.0.1/", "http://[fd00::1]/", "http://name/"]
    {
        assert!(reach.read(url).is_ok(), "{url}");
    }
    assert!(reach.read("http://[::ffff:127.0.0.1]/").is_ok());
    for url in ["http://8.8.8.8/", "http://10.0.0.1/", "https://10.0.0.1/"] {
        assert!(reach.read(url).is_err(), "{url}");
    }
    assert!(reach.admits("8.8.8.8".parse().unwrap(), true));
    assert!(!reach.admits("8.8.8.8".parse().unwrap(), false));
}

#[test]
fn what_is_no_url_of_a_webhook_is_refused_with_the_reason() {
    let long = format!("https://example.com/{}", "x".repeat(MOST_CHARACTERS));
    for (url, part) in [
        ("", "https://example.com"),
        ("example.com", "https://example.com"),
        ("https://", "https://example.com"),
        ("http://example.com/", "https://"),
        ("ftp://example.com/", "https://"),
        ("file:///etc/passwd", "https://"),
        ("gopher://127.0.0.1/", "https://"),
        ("https://user@example.com/", "user"),
        ("https://:secret@example.com/", "password"),
        ("https://example.com/#part", "fragment"),
        ("https://example.com:0/", "port"),
        (&long, "characters"),
    ] {
        let refused = Reach::default().read(url).unwrap_err();
        assert!(refused.0.contains(part), "{url}: {refused}");
    }
}
