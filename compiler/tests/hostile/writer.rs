//! ONNX files written byte by byte: protobuf by hand, independent of what reads it.

/// A message under construction.
#[derive(Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A field of an integer.
    pub(crate) fn int(mut self, number: u64, value: i64) -> Message {
        self.varint(number << 3);
        self.varint(value as u64);
        self
    }

    /// A field of bytes: text, packed numbers, or another message.
    pub(crate) fn bytes(mut self, number: u64, bytes: impl AsRef<[u8]>) -> Message {
        self.varint(number << 3 | 2);
        self.varint(bytes.as_ref().len() as u64);
        self.0.extend(bytes.as_ref());
        self
    }

    fn packed(self, number: u64, values: &[i64]) -> Message {
        let mut list = Message::default();
        values.iter().for_each(|value| list.varint(*value as u64));
        self.bytes(number, list.0)
    }
}

/// Numbers of element types.
pub(crate) const F32: i64 = 1;
pub(crate) const U8: i64 = 2;
pub(crate) const I64: i64 = 7;
pub(crate) const BOOL: i64 = 9;
pub(crate) const F16: i64 = 10;

/// A short name of its own for each number.
pub(crate) fn name(mut number: usize) -> String {
    const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut name = String::new();
    loop {
        name.push(char::from(DIGITS[number % DIGITS.len()]));
        number /= DIGITS.len();
        if number == 0 {
            return name;
        }
    }
}

/// A node with attributes that are messages of their own.
pub(crate) fn node(
    op_type: &str,
    inputs: &[&str],
    outputs: &[&str],
    attributes: &[Message],
) -> Message {
    let node = inputs.iter().fold(Message::default(), |node, name| node.bytes(1, name));
    let node = outputs.iter().fold(node, |node, name| node.bytes(2, name)).bytes(4, op_type);
    attributes.iter().fold(node, |node, attribute| node.bytes(5, &attribute.0))
}

pub(crate) fn int(name: &str, value: i64) -> Message {
    Message::default().bytes(1, name).int(3, value).int(20, 2)
}

pub(crate) fn ints(name: &str, values: &[i64]) -> Message {
    Message::default().bytes(1, name).packed(8, values).int(20, 7)
}

/// A tensor with its elements as raw bytes.
pub(crate) fn tensor(name: &str, data_type: i64, dims: &[i64], raw: &[u8]) -> Message {
    Message::default().packed(1, dims).int(2, data_type).bytes(8, name).bytes(9, raw)
}

/// A tensor of integers, each as short as it can be.
pub(crate) fn integers(name: &str, values: &[i64]) -> Message {
    Message::default()
        .packed(1, &[values.len() as i64])
        .int(2, I64)
        .packed(7, values)
        .bytes(8, name)
}

fn value(name: &str, dims: &[i64]) -> Message {
    let dim = |extent: &i64| {
        if *extent < 0 { Message::default() } else { Message::default().int(1, *extent) }
    };
    let shape = dims.iter().fold(Message::default(), |shape, extent| shape.bytes(1, dim(extent).0));
    let tensor = Message::default().int(1, F32).bytes(2, shape.0);
    Message::default().bytes(1, name).bytes(2, Message::default().bytes(1, tensor.0).0)
}

/// A graph under construction.
#[derive(Clone, Default)]
pub(crate) struct File(Message);

impl File {
    pub(crate) fn new() -> File {
        File::default()
    }

    /// An input.
    pub(crate) fn input(self, name: &str, dims: &[i64]) -> File {
        File(self.0.bytes(11, value(name, dims).0))
    }

    /// An output; -1 stands for an extent that is not told.
    pub(crate) fn output(self, name: &str, dims: &[i64]) -> File {
        File(self.0.bytes(12, value(name, dims).0))
    }

    pub(crate) fn node(
        self,
        op_type: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[Message],
    ) -> File {
        self.add_node(&node(op_type, inputs, outputs, attributes))
    }

    pub(crate) fn add_node(self, node: &Message) -> File {
        File(self.0.bytes(1, &node.0))
    }

    pub(crate) fn initializer(self, tensor: &Message) -> File {
        File(self.0.bytes(5, &tensor.0))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.0.len()
    }

    /// The bytes of the model.
    pub(crate) fn finish(self, opset: i64) -> Vec<u8> {
        let opset = Message::default().int(2, opset);
        Message::default().int(1, 8).bytes(7, self.0.0).bytes(8, opset.0).0
    }
}
