//! The configuration grammar on any text: every block, instance and address, and every sentence about them.

use core::fmt::Write;

use steadfast_core::config::keywords::{self, Vocabulary};
use steadfast_core::config::lexer::{self, Lexer, Quoting};
use steadfast_core::config::statement::Block;
use steadfast_core::config::{self, Config, Diagnostic};

use crate::fmt::Sink;
use crate::{any, bytes, used};

pub(crate) fn drive(memory: &[u8]) {
    match config::text(bytes(memory)) {
        Ok(text) => {
            grammar(text);
            syntax(text);
        }
        Err(diagnostic) => say(diagnostic),
    }
}

fn say(diagnostic: Diagnostic<'_>) {
    used(write!(Sink, "{diagnostic}"));
}

fn grammar(text: &str) {
    let config = Config::parse(text, &mut say);
    used(config.globals);
    let mut instances = config.instances();
    while let Some(instance) = instances.next(&mut say) {
        match instance {
            Ok(instance) => {
                instance.addresses().for_each(|address| used((address, address.family())));
                instance.excluded().for_each(used);
                used(instance.settings);
            }
            Err(left_out) => used(left_out),
        }
    }
    let mut groups = config.sync_groups();
    while let Some(group) = groups.next(&mut say) {
        group.members().for_each(used);
        used(group);
    }
}

fn syntax(text: &str) {
    let mut lexer = Lexer::new(text);
    used((lexer.next_token(any(Quoting::Shell)), lexer.place()));
    lexer.skip_line();
    lexer::unescape(text).for_each(used);
    let mut block = Block::file(text);
    while let Some(statement) = block.next(&mut say) {
        statement.words.for_each(used);
    }
    let vocabulary = any(Vocabulary::Instance);
    used((vocabulary.keywords(), vocabulary.place(), keywords::quoting(text), keywords::home(text)));
    used((keywords::find(vocabulary, text), keywords::nearest(vocabulary, text)));
}
