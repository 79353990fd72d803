//! Limits as people type them: seconds, an amount of memory, a number of processors.

use serde_json::{Value, json};

use super::fields::LimitFields;
use crate::{domain::limits::Limits, web::problem::FieldError};

/// Units of memory and their bytes, the largest first.
const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl LimitFields {
    pub(super) fn of(limits: &Limits) -> Self {
        Self {
            timeout: limits
                .timeout_seconds
                .map(|seconds| seconds.to_string())
                .unwrap_or_default(),
            memory: limits.memory_bytes.map(memory_text).unwrap_or_default(),
            cpus: limits
                .cpu_thousandths
                .map(|thousandths| (thousandths as f64 / 1000.0).to_string())
                .unwrap_or_default(),
        }
    }

    /// As the document has them; what cannot be read is left out, and a fault.
    pub(super) fn read(&self) -> (Value, Vec<FieldError>) {
        let mut faults = Vec::new();
        let mut refuse = |field: &str, message: &str| faults.push(FieldError::new(format!("limits.{field}"), message));
        let timeout = read(&self.timeout, |text| text.parse::<u64>().ok());
        if timeout.is_err() {
            refuse("timeout_seconds", "type a number of seconds, such as 1800");
        }
        let memory = read(&self.memory, memory_of);
        if memory.is_err() {
            refuse("memory_bytes", "type an amount such as 512 MiB or 2 GiB");
        }
        let cpus = read(&self.cpus, |text| {
            text.parse::<f64>().ok().filter(|cpus| cpus.is_finite())
        });
        if cpus.is_err() {
            refuse("cpus", "type a number, such as 1.5");
        }
        let document = json!({
            "timeout_seconds": timeout.ok().flatten(),
            "memory_bytes": memory.ok().flatten(),
            "cpus": cpus.ok().flatten(),
        });
        (document, faults)
    }
}

/// `Ok(None)` where nothing was typed, `Err` where it cannot be read.
fn read<T>(text: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, ()> {
    match text.trim() {
        "" => Ok(None),
        text => parse(text).map(Some).ok_or(()),
    }
}

fn memory_text(bytes: u64) -> String {
    let unit = UNITS
        .into_iter()
        .find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size));
    match unit {
        Some((unit, size)) => format!("{} {unit}", bytes / size),
        None => bytes.to_string(),
    }
}

/// `512 MiB`, `512m`, `2G` or bytes, as the Docker command line takes them too.
fn memory_of(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let count: u64 = count.parse().ok()?;
    let unit = unit.trim();
    if unit.is_empty() || unit.eq_ignore_ascii_case("b") {
        return Some(count);
    }
    let (_, size) = UNITS.into_iter().find(|(name, _)| {
        let spellings = [&name[..1], &name[..2], name];
        spellings.iter().any(|spelling| spelling.eq_ignore_ascii_case(unit))
            || unit.eq_ignore_ascii_case(&format!("{}B", &name[..1]))
    })?;
    count.checked_mul(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_people_write_it_and_written_shortly() {
        for (text, bytes) in [
            ("512 MiB", 512 << 20),
            ("512m", 512 << 20),
            ("2G", 2 << 30),
            ("2gb", 2 << 30),
            ("16777217", 16_777_217),
            ("1 KiB", 1024),
        ] {
            assert_eq!(memory_of(text), Some(bytes), "{text}");
        }
        for bad in [
            "",
            "much",
            "-1",
            "1.5 GiB",
            "1 TiB",
            "99999999999999999999",
            "18446744073709551615 GiB",
        ] {
            assert_eq!(memory_of(bad), None, "{bad}");
        }
        assert_eq!(memory_text(512 << 20), "512 MiB");
        assert_eq!(memory_text(3 << 30), "3 GiB");
        assert_eq!(memory_text(16_777_217), "16777217");
    }

    #[test]
    fn what_cannot_be_read_is_a_fault_of_its_field_and_nothing_typed_is_no_limit() {
        let fields = |timeout: &str, memory: &str, cpus: &str| LimitFields {
            timeout: timeout.to_owned(),
            memory: memory.to_owned(),
            cpus: cpus.to_owned(),
        };
        let (document, faults) = fields(" ", "", "").read();
        assert_eq!(
            document,
            json!({ "timeout_seconds": null, "memory_bytes": null, "cpus": null })
        );
        assert_eq!(faults, []);
        let (document, faults) = fields("1 h", "lots", "inf").read();
        assert!(document["cpus"].is_null() && document["memory_bytes"].is_null());
        let named: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(named, ["limits.timeout_seconds", "limits.memory_bytes", "limits.cpus"]);
        assert_eq!(fields("60", "64 MiB", "0.5").read().0["cpus"], json!(0.5));
    }
}
