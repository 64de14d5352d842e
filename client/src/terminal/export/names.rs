//! The names that files of an export can have, and their order.

/// The place of shared files in the order: behind all others but the manifest. Theirs alone is that of many files.
pub(super) const SHARED: u32 = u32::MAX - 1;
/// The place of the manifest.
const MANIFEST: u32 = u32::MAX;

/// Files that are there once, in their order.
const FIRST: [&str; 10] = [
    "README.txt",
    "checkpoint",
    "keys",
    "sizes",
    "rows.pb",
    "tree",
    "people.jsonl",
    "rooms.jsonl",
    "messages.jsonl",
    "report.html",
];
/// The most pages that a report has.
const PAGES: u32 = 999_999;

/// The place of a file in the order of an export; `None` if no file of an export is called so.
pub(super) fn rank(name: &str) -> Option<u32> {
    if let Some(at) = FIRST.iter().position(|known| *known == name) {
        return u32::try_from(at).ok();
    }
    if name == "manifest" {
        return Some(MANIFEST);
    }
    if let Some(hash) = name.strip_prefix("files/") {
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        return is_hash.then_some(SHARED);
    }
    let number = name.strip_prefix("report-")?.strip_suffix(".html")?;
    let page: u32 = number.parse().ok()?;
    // Digits alone: a number is read from `+2` and `02` too.
    let is_plain = page.to_string() == number && (2..=PAGES).contains(&page);
    is_plain.then_some(u32::try_from(FIRST.len()).ok()? + page)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn files_have_an_order_and_nothing_else_is_a_file() {
        let hash = "0123456789abcdef".repeat(4);
        let shared = format!("files/{hash}");
        let names = [
            "README.txt",
            "checkpoint",
            "keys",
            "sizes",
            "rows.pb",
            "tree",
            "people.jsonl",
            "rooms.jsonl",
            "messages.jsonl",
            "report.html",
            "report-2.html",
            "report-3.html",
            "report-10.html",
            &shared,
            "manifest",
        ];
        let ranks: Vec<_> = names.iter().map(|name| rank(name).expect(name)).collect();
        assert!(ranks.windows(2).all(|pair| pair[0] < pair[1]), "{ranks:?}");
        for name in [
            "",
            ".",
            "..",
            "../manifest",
            "/manifest",
            "manifest/",
            "manifest\0",
            "Manifest",
            ".export.json",
            "files",
            "files/",
            "files/..",
            "files/../manifest",
            &format!("files/{}", hash.to_uppercase()),
            &format!("files/{hash}0"),
            &format!("files//{hash}"),
            "report-1.html",
            "report-02.html",
            "report-+2.html",
            "report--2.html",
            "report-1000000.html",
            "report-.html",
        ] {
            assert_eq!(rank(name), None, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn no_name_leads_out(name in "(\\.\\.|/|files/|report-|\\.html|manifest|[0-9a-f]{0,64}|\\PC){0,6}") {
            if rank(&name).is_some() {
                prop_assert!(!name.contains("..") && !name.starts_with('/') && name.len() <= 100);
            }
        }
    }
}
