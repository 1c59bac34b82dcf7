//! Login bodies, forms and what may be typed as a login.
#![no_main]

use libfuzzer_sys::fuzz_target;
use margrave_shared::basic::Basic;
use margrave_shared::form::Form;
use margrave_shared::json::Json;
use margrave_shared::login::{Login, Username, login_key};
use margrave_shared::secret::SecretText;
use margrave_shared::sso::legacy;
use margrave_shared::time::UnixMs;
use margrave_shared::wire::credentials::CredentialsRequest;

fuzz_target!(|data: &[u8]| {
    if let Ok(login) = CredentialsRequest::parse(data) {
        // What the edge passes on is what it has counted.
        let again = CredentialsRequest::parse(login.print().expose().as_bytes()).expect("its own print");
        assert_eq!(again.login, login.login);
        assert_eq!(again.password.expose(), login.password.expose());
        assert_eq!(again.merchant_id, login.merchant_id);
        // A standard reader agrees about what it says.
        let standard: serde_json::Value = serde_json::from_slice(data).expect("JSON");
        assert_eq!(standard["login"].as_str(), Some(login.login.as_str()));
        let _ = Login::parse(&login.login);
    }
    if Json::parse(data).is_ok()
        && let Err(error) = serde_json::from_slice::<serde_json::Value>(data)
    {
        // The grammar bounds no number; that reader does.
        assert!(error.to_string().starts_with("number out of range"), "strict JSON is JSON: {error}");
    }
    if let Ok(form) = Form::parse(data) {
        let printed = form.print();
        assert_eq!(Form::parse(printed.as_bytes()).expect("its own print").print(), printed);
    }
    // What a company signs, whatever it is, and what a stranger says that it has signed.
    let (secret, now) = (SecretText::new("secret".to_owned()), UnixMs::from_seconds(1_800_000_000));
    let user_info = margrave_shared::base64::encode_standard(data);
    let signature = legacy::sign(&secret, &user_info, "1800000000");
    let _ =
        legacy::verify(&format!("{user_info}_1800000000_{signature}"), std::slice::from_ref(&secret), now);
    if let Ok(text) = core::str::from_utf8(data) {
        assert!(legacy::verify(text, &[], now).is_err());
        let _ = Basic::parse(text);
        if let Ok(username) = Username::parse(text) {
            // However its owner writes it, it is one bucket and one account.
            assert_eq!(login_key(username.display()), username.key());
            assert_eq!(login_key(username.key()), username.key());
        }
    }
});
