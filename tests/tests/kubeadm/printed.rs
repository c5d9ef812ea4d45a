//! What `awsiam control-plane --for kubeadm` prints, carried out to the letter: each block of a shell is run, each block
//! of YAML goes where the text says.

use awsiam_tests::machine::kubeadm::KubeadmNode;
use serde_json::{Value, json};

/// The blocks between fences, in their order.
pub(crate) struct Printed {
    blocks: Vec<Block>,
}

struct Block {
    language: String,
    text: String,
}

impl Printed {
    pub(crate) fn of(text: &str) -> Self {
        let mut blocks = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(language) = line.strip_prefix("```") {
                let inside = lines.by_ref().take_while(|line| *line != "```");
                let text = inside.flat_map(|line| [line, "\n"]).collect();
                blocks.push(Block { language: language.to_owned(), text });
            }
        }
        let languages: Vec<&str> = blocks.iter().map(|block| block.language.as_str()).collect();
        assert_eq!(languages, ["sh", "yaml", "sh", "yaml", "yaml", "yaml", "yaml", "sh", "sh"], "{text}");
        Self { blocks }
    }

    fn block(&self, index: usize) -> &str {
        &self.blocks[index].text
    }

    /// Section 1.
    pub(crate) fn put_the_file_on(&self, node: &KubeadmNode) {
        node.shell(self.block(0)).unwrap();
    }

    /// Section 2: before kubeadm runs there, as cloud-init's write_files does.
    pub(crate) fn put_the_file_where_cloud_init_would(&self, node: &KubeadmNode) {
        let cloud_init: Value = serde_saphyr::from_str(self.block(1)).unwrap();
        for file in cloud_init["write_files"].as_array().unwrap() {
            let text = |field: &str| file[field].as_str().unwrap_or_else(|| panic!("no {field}: {file}"));
            let (path, mode, owner) = (text("path"), text("permissions"), text("owner"));
            let (user, group) = owner.split_once(':').unwrap();
            node.shell(&format!(
                "mkdir -p \"$(dirname {path})\"\ninstall -m {mode} -o {user} -g {group} /dev/stdin {path} <<'EOF'\n{}EOF\n",
                text("content")
            ))
            .unwrap();
        }
    }

    /// Sections 3 and 4, on the only node that runs. `is_back` waits until its API server answers with the flag.
    pub(crate) fn set_the_flag_on(&self, node: &KubeadmNode, is_back: impl FnOnce()) {
        node.shell(self.block(2)).unwrap();
        let own = node.folder().join("home/kubeadm.yaml");
        let mut configuration: Value =
            serde_saphyr::from_str(&std::fs::read_to_string(&own).unwrap()).unwrap();
        let addition: Value = serde_saphyr::from_str(self.block(3)).unwrap();
        add(&mut configuration, &addition);
        let filled = |index: usize, what: &str, value: &str| {
            let text = self.block(index).replace(what, value);
            assert!(text.contains(value), "no {what} in {text}");
            text
        };
        let address = filled(5, "<address of this node>", &node.address().to_string());
        let patches = filled(6, "<folder of patches>", &node.patches().display().to_string());
        std::fs::write(&own, format!("{configuration:#}\n{address}{patches}")).unwrap();
        node.shell(self.block(7)).unwrap();
        is_back();
        node.shell(self.block(8)).unwrap();
    }
}

/// Puts what is printed beside what is there.
fn add(there: &mut Value, addition: &Value) {
    match (there, addition) {
        (Value::Object(there), Value::Object(addition)) => {
            for (key, value) in addition {
                add(there.entry(key.clone()).or_insert(json!(null)), value);
            }
        }
        (Value::Array(there), Value::Array(addition)) => there.extend(addition.iter().cloned()),
        (there, addition) => *there = addition.clone(),
    }
}
