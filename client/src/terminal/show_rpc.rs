//! `--show-rpc`: each call as a grpcurl line, so that the tool documents the API.

use std::path::Path;
use std::sync::OnceLock;

use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;

use super::shell::quoted;
use crate::ServerAddress;

/// Fields whose values are never shown.
const SECRETS: [&str; 5] = ["password", "currentPassword", "newPassword", "invitation", "code"];
/// Methods that need no login.
const OPEN: [&str; 5] = [
    "/greffe.v1.ServerService/GetServerInfo",
    "/greffe.v1.AuthService/Register",
    "/greffe.v1.AuthService/LogIn",
    "/greffe.v1.AuthService/ResetPassword",
    "/greffe.admin.v1.AdminAuthService/LogIn",
];

/// The command line that makes the call at `path` with this encoded request, over TCP.
pub fn line(address: &ServerAddress, path: &str, request: &[u8]) -> String {
    let mut words = vec!["grpcurl".to_owned()];
    if !address.is_tls() {
        words.push("-plaintext".to_owned());
    }
    if !OPEN.contains(&path) {
        words.push("-H \"authorization: Bearer $TOKEN\"".to_owned());
    }
    finish(words, &address.authority(), path, request)
}

/// The same over a socket of this machine, where nobody logs in.
pub fn line_over_socket(socket: &Path, path: &str, request: &[u8]) -> String {
    let words = ["grpcurl", "-plaintext", "-unix"].map(str::to_owned).into();
    finish(words, &quoted(&socket.to_string_lossy()), path, request)
}

fn finish(mut words: Vec<String>, place: &str, path: &str, request: &[u8]) -> String {
    let data = json(path, request).unwrap_or_else(|| "{}".to_owned());
    words.push(format!("-d {}", quoted(&data)));
    words.push(place.to_owned());
    words.push(path.trim_start_matches('/').to_owned());
    words.join(" ")
}

fn json(path: &str, request: &[u8]) -> Option<String> {
    let (service, method) = path.trim_start_matches('/').split_once('/')?;
    let method = pool()?
        .get_service_by_name(service)?
        .methods()
        .find(|found| found.name() == method)?;
    let message = DynamicMessage::decode(method.input(), request).ok()?;
    let mut value = serde_json::to_value(message).ok()?;
    for secret in SECRETS {
        if let Some(field) = value.get_mut(secret) {
            *field = Value::String(format!("${}", secret.to_ascii_uppercase()));
        }
    }
    Some(value.to_string())
}

fn pool() -> Option<&'static DescriptorPool> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(greffe_api::FILE_DESCRIPTOR_SET).ok())
        .as_ref()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::Method;
    use crate::api::{LogInRequest, SendMessageRequest};

    #[test]
    fn a_call_is_a_line_that_a_shell_can_run() -> Result<(), crate::Error> {
        let request = SendMessageRequest {
            request_id: "r".into(),
            room_id: "g".into(),
            text: "it's".into(),
            reply_to_seq: 0,
        };
        let line = line(
            &"http://127.0.0.1:5".parse()?,
            SendMessageRequest::PATH,
            &request.encode_to_vec(),
        );
        assert_eq!(
            line,
            "grpcurl -plaintext -H \"authorization: Bearer $TOKEN\" \
             -d '{\"requestId\":\"r\",\"roomId\":\"g\",\"text\":\"it'\\''s\"}' 127.0.0.1:5 greffe.v1.ChatService/SendMessage"
        );
        Ok(())
    }

    #[test]
    fn secrets_are_not_shown() -> Result<(), crate::Error> {
        let request = LogInRequest {
            user_name: "a".into(),
            password: "hunter2".into(),
            client: String::new(),
        };
        let line = line(&"https://h:5".parse()?, LogInRequest::PATH, &request.encode_to_vec());
        assert!(
            !line.contains("hunter2") && line.contains("$PASSWORD") && !line.contains("TOKEN"),
            "{line}"
        );
        Ok(())
    }

    #[test]
    fn over_a_socket_there_is_no_token() {
        let line = line_over_socket(
            Path::new("/my data/admin.sock"),
            "/greffe.v1.ServerService/GetServerInfo",
            &[],
        );
        assert_eq!(
            line,
            "grpcurl -plaintext -unix -d '{}' '/my data/admin.sock' greffe.v1.ServerService/GetServerInfo"
        );
    }
}
