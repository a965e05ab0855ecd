import sys, zlib, warnings, pathlib
import numpy as np, torch, onnx, onnxruntime, onnxsim
from torch import nn
warnings.filterwarnings("ignore")
sys.path.insert(0, "/tmp/swin")
def draw(name, shape):
    noise = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape)
    if "token" in name or "embed" in name and len(shape) == 3: return noise * 0.5
    if "relative_position_bias_table" in name: return noise
    if len(shape) > 1: return noise * np.prod(shape[1:]) ** -0.5
    return (1.0 if "norm" in name and "weight" in name else 0.0) + 0.1 * noise
def fill(m):
    for n,p in m.named_parameters(): p.data = torch.from_numpy(draw(n,p.shape).astype(np.float32))
    return m.eval()
def swin(fused, **kw):
    from timm.models.swin_transformer import SwinTransformer
    o=dict(img_size=16, patch_size=2, window_size=4, num_classes=10, embed_dim=12, depths=(2,1), num_heads=(2,3), mlp_ratio=2); o.update(kw)
    m=fill(SwinTransformer(**o))
    for b in m.modules():
        if hasattr(b,'fused_attn'): b.fused_attn=fused
    return m
def tvswin():
    from torchvision.models.swin_transformer import SwinTransformer
    return fill(SwinTransformer(patch_size=[2,2], embed_dim=12, depths=[2,1], num_heads=[2,3], window_size=[4,4], mlp_ratio=2.0, num_classes=10, stochastic_depth_prob=0.0))
def run(path,x):
    o=onnxruntime.SessionOptions(); o.intra_op_num_threads=1; o.graph_optimization_level=onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    s=onnxruntime.InferenceSession(path,o,providers=["CPUExecutionProvider"])
    return s.run(None,{s.get_inputs()[0].name:x})
def strip(model):
    g=model.graph
    for item in [model,g,*g.node,*g.value_info,*g.input,*g.output,*g.initializer]:
        del item.metadata_props[:]; item.ClearField("doc_string")
def make(name, model, x, dyn, op, sim=False, outs=("y",)):
    p=f"/tmp/swin/m/{name}.onnx"
    o=dict(opset_version=op,dynamo=dyn,input_names=["x"],output_names=list(outs))
    if dyn: o|=dict(external_data=False,verbose=False)
    torch.onnx.export(model,(torch.from_numpy(x),),p,**o)
    e=onnx.load(p)
    if sim: e,_=onnxsim.simplify(e)
    strip(e); onnx.save(e,p)
    y=run(p,x)
    with torch.no_grad(): r=model(torch.from_numpy(x))
    r=[r] if torch.is_tensor(r) else list(r)
    d=max(np.abs(a-b.numpy()).max() for a,b in zip(y,r))
    np.save(p.replace(".onnx",".in.npy"),x)
    for n,a in zip(outs,y): np.save(p.replace(".onnx",f".{n}.out.npy" if len(outs)>1 else ".out.npy"),a)
    print(name,pathlib.Path(p).stat().st_size,len(e.graph.node),d, [a.std() for a in y],flush=True)
def img(n=16): return np.random.Generator(np.random.PCG64(0)).standard_normal((1,3,n,n)).astype(np.float32)
from pose_model import Pose
def pose(reduce_norm="annotated"):
    return fill(Pose(frames=9, joints=4, channels=16, hidden=32, heads=2, layers=1, strides=(3,3), norm=reduce_norm))
if __name__=="__main__":
    w=sys.argv[1:] or ["all"]
    if "all" in w or "swin" in w:
        make("swin.legacy.unfused.op17",swin(False),img(),False,17)
        make("swin.legacy.fused.op14",swin(True),img(),False,14)
        make("swin.dynamo.unfused.op20",swin(False),img(),True,20);make("swin.dynamo.unfused.op20.sim",swin(False),img(),True,20,True)
        make("tvswin.legacy.unfused.op17",tvswin(),img(),False,17)
        make("tvswin.dynamo.unfused.op20",tvswin(),img(),True,20)
    if "all" in w or "pose" in w:
        x=np.random.Generator(np.random.PCG64(0)).standard_normal((1,9,4,2)).astype(np.float32)
        make("pose.legacy.unfused.op17",pose(),x,False,17,outs=("single","sequence"))
        make("pose.dynamo.unfused.op20",pose(),x,True,20,outs=("single","sequence"))
        make("pose.dynamo.unfused.op20.layernorm",pose("torch"),x,True,20,outs=("single","sequence"))
    if "big" in w:
        import timm
        m=fill(timm.create_model("swin_tiny_patch4_window7_224",pretrained=False))
        for b in m.modules():
            if hasattr(b,'fused_attn'): b.fused_attn=False
        make("big_swin_tiny",m,img(224),False,17)
        x=np.random.Generator(np.random.PCG64(0)).standard_normal((1,351,17,2)).astype(np.float32)
        make("big_pose351",fill(Pose(frames=351,joints=17,channels=256,hidden=512,heads=8,layers=3,strides=(3,9,13),norm="annotated")),x,True,20,outs=("single","sequence"))
