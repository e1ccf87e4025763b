//! The second factor: codes of a device that shares a secret with the server (TOTP, RFC 6238: SHA-1, 6 digits, 30 s).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use qrcodegen::{QrCode, QrCodeEcc};
use serde::{Deserialize, Serialize};
use totp_rs::{Algorithm, TOTP};

/// Length of the secret, bytes: that of the hash, as RFC 4226 recommends.
const SECRET: usize = 20;
/// A code stands for so long, seconds.
const STEP: u64 = 30;
const DIGITS: usize = 6;

/// What is kept of a user's second factor.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactor {
    secret: [u8; SECRET],
    /// Whether the user has shown that his device has it; only then a login needs it
    pub confirmed: bool,
    /// The step of the last code that somebody logged in with: neither it nor an earlier one is good for that again
    used: Option<u64>,
}

/// The second factor cannot be worked with.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the second factor cannot be computed: {0}")]
pub struct FactorError(String);

/// What a device is set up with.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Challenge {
    /// A picture of the URI, as a data URL
    pub qr_code: String,
    /// `otpauth://totp/…`
    pub key_uri: String,
}

impl SecondFactor {
    /// A new secret, not yet confirmed.
    pub fn generate() -> SecondFactor {
        SecondFactor { secret: rand::random(), confirmed: false, used: None }
    }

    /// For the user's device. `issuer` and `account` are what it shows.
    pub fn challenge(&self, issuer: &str, account: &str) -> Result<Challenge, FactorError> {
        let totp = self.totp(issuer, account)?;
        let key_uri = totp.get_url();
        let picture = picture(&key_uri).map_err(FactorError)?;
        Ok(Challenge { qr_code: format!("data:image/png;base64,{}", STANDARD.encode(picture)), key_uri })
    }

    /// The step that a code is of, if it is one of now or of one step before or after: clocks differ. `now` in seconds.
    pub fn step(&self, code: &str, now: u64) -> Result<Option<u64>, FactorError> {
        let totp = self.totp("", "")?;
        let steps = [now / STEP, (now / STEP).saturating_sub(1), now / STEP + 1];
        // In constant time each.
        Ok(steps.into_iter().find(|step| totp.check(code, step * STEP)))
    }

    /// The same, needed at logins from now on.
    pub fn confirmed(self) -> SecondFactor {
        SecondFactor { confirmed: true, ..self }
    }

    /// Whether a code is good for a login, and what is to be kept then.
    pub fn login(&self, code: &str, now: u64) -> Result<Option<SecondFactor>, FactorError> {
        let step = self.step(code, now)?.filter(|step| self.used.is_none_or(|used| used < *step));
        Ok(step.map(|step| SecondFactor { used: Some(step), ..self.clone() }))
    }

    fn totp(&self, issuer: &str, account: &str) -> Result<TOTP, FactorError> {
        // A colon separates the two in the URI.
        let [issuer, account] = [issuer, account].map(|name| name.replace(':', "_"));
        TOTP::new(Algorithm::SHA1, DIGITS, 0, STEP, self.secret.to_vec(), Some(issuer), account)
            .map_err(|error| FactorError(error.to_string()))
    }
}

/// A QR code of a text, as PNG.
fn picture(text: &str) -> Result<Vec<u8>, String> {
    /// Pixels of a module, and modules around it that stay white.
    const SCALE: i32 = 6;
    const MARGIN: i32 = 4;
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).map_err(|error| error.to_string())?;
    let modules = -MARGIN..code.size() + MARGIN;
    let side = (code.size() + 2 * MARGIN) * SCALE;
    let mut pixels = Vec::with_capacity((side * side).unsigned_abs() as usize);
    for y in modules.clone().flat_map(|y| std::iter::repeat_n(y, SCALE as usize)) {
        for x in modules.clone() {
            let grey = if code.get_module(x, y) { 0 } else { u8::MAX };
            pixels.extend([grey; SCALE as usize]);
        }
    }
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, side.unsigned_abs(), side.unsigned_abs());
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().map_err(|error| error.to_string())?;
    writer.write_image_data(&pixels).map_err(|error| error.to_string())?;
    writer.finish().map_err(|error| error.to_string())?;
    Ok(png)
}

/// A code as clients send it: a text, or a number that has lost its leading zeros.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Code {
    /// As it was typed
    Text(String),
    /// As a number
    Number(u32),
}

impl Code {
    /// Its digits.
    pub fn digits(&self) -> String {
        match self {
            Code::Text(text) => text.chars().filter(|letter| !letter.is_whitespace()).take(2 * DIGITS).collect(),
            Code::Number(number) => format!("{number:0DIGITS$}"),
        }
    }
}

impl std::fmt::Debug for SecondFactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecondFactor").field("confirmed", &self.confirmed).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The secret and the times of RFC 6238, appendix B; of its eight digits the last six.
    #[test]
    fn codes_are_those_of_the_standard() {
        let factor = SecondFactor { secret: *b"12345678901234567890", confirmed: true, used: None };
        for (now, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_111_111_111, "050471"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
        {
            assert_eq!(factor.step(code, now).unwrap(), Some(now / STEP), "{now}");
            assert!(factor.step(code, now + STEP).unwrap().is_some() && factor.step(code, now - STEP).unwrap().is_some());
            assert_eq!(factor.step(code, now + 2 * STEP).unwrap(), None);
        }
        assert_eq!(factor.step("", 59).unwrap(), None);
        assert_eq!(factor.step("94287082", 59).unwrap(), None);
    }

    #[test]
    fn a_code_is_good_for_one_login() {
        let factor = SecondFactor { secret: *b"12345678901234567890", confirmed: true, used: None };
        let after = factor.login("081804", 1_111_111_109).unwrap().unwrap();
        assert_eq!(after.login("081804", 1_111_111_109).unwrap(), None);
        assert!(after.step("081804", 1_111_111_109).unwrap().is_some(), "for other things it is still good");
        assert!(after.login("050471", 1_111_111_111).unwrap().is_some(), "the next one");
    }

    #[test]
    fn the_challenge_names_issuer_and_account() {
        let challenge = SecondFactor::generate().challenge("Shop: a", "joe@example.org").unwrap();
        assert!(challenge.key_uri.starts_with("otpauth://totp/Shop_%20a:joe%40example.org?secret="), "{challenge:?}");
        assert!(challenge.qr_code.starts_with("data:image/png;base64,iVBORw0KGgo"));
        assert_eq!(Code::Number(5924).digits(), "005924");
        assert_eq!(Code::Text(" 005 924 ".into()).digits(), "005924");
    }
}
