import torch, math
from torch import nn
class UnbiasedLayerNorm(nn.Module):
    """LayerNorm with the unbiased deviation, the epsilon added to it."""
    def __init__(self, channels, eps=1e-6):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.eps = eps
    def forward(self, x):
        return self.weight * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + self.eps) + self.bias
class Attention(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.heads=heads
        self.q,self.k,self.v,self.out=(nn.Linear(channels,channels) for _ in range(4))
    def forward(self,x):
        b,n,c=x.shape
        split=lambda t: t.view(b,-1,self.heads,c//self.heads).transpose(1,2)
        q,k,v=split(self.q(x)),split(self.k(x)),split(self.v(x))
        s=torch.matmul(q,k.transpose(-2,-1))/math.sqrt(c//self.heads)
        y=torch.matmul(s.softmax(-1),v)
        return self.out(y.transpose(1,2).contiguous().view(b,-1,c))
class Layer(nn.Module):
    def __init__(self,channels,hidden,heads,stride,norm,conv):
        super().__init__()
        make={"annotated":UnbiasedLayerNorm,"torch":nn.LayerNorm}[norm]
        self.norm1,self.norm2=make(channels),make(channels)
        self.attention=Attention(channels,heads)
        self.conv,self.stride=conv,stride
        if conv:
            self.w1=nn.Conv1d(channels,hidden,1)
            self.w2=nn.Conv1d(hidden,channels,3,stride=stride,padding=1)
            self.pool=nn.MaxPool1d(1,stride)
        else:
            self.w1,self.w2=nn.Linear(channels,hidden),nn.Linear(hidden,channels)
    def forward(self,x):
        x=x+self.attention(self.norm1(x))
        y=self.norm2(x)
        if not self.conv: return x+self.w2(torch.relu(self.w1(y)))
        y=self.w2(torch.relu(self.w1(y.permute(0,2,1)))).permute(0,2,1)
        if self.stride!=1: x=self.pool(x.permute(0,2,1)).permute(0,2,1)
        return x+y
class Pose(nn.Module):
    def __init__(self,frames,joints,channels,hidden,heads,layers,strides,norm):
        super().__init__()
        self.joints=joints
        self.encoder=nn.Sequential(nn.Conv1d(2*joints,channels,1),nn.BatchNorm1d(channels),nn.ReLU())
        self.position_embed=nn.Parameter(torch.zeros(1,frames,channels))
        self.layers=nn.ModuleList(Layer(channels,hidden,heads,1,norm,False) for _ in range(layers))
        self.embeds=nn.ParameterList()
        self.strided=nn.ModuleList()
        n=frames
        for s in strides:
            self.embeds.append(nn.Parameter(torch.zeros(1,n,channels)))
            self.strided.append(Layer(channels,hidden,heads,s,norm,True))
            n=(n-1)//s+1
        head=lambda: nn.Sequential(nn.BatchNorm1d(channels),nn.Conv1d(channels,3*joints,1))
        self.single,self.sequence=head(),head()
        for m in self.modules():
            if isinstance(m,nn.BatchNorm1d):
                m.running_mean=torch.linspace(-0.5,0.5,channels); m.running_var=torch.linspace(0.5,2,channels)
    def pose(self,head,x):
        y=head(x.permute(0,2,1).contiguous())
        b,_,f=y.shape
        return y.reshape(b,self.joints,3,f).permute(0,3,1,2).contiguous()
    def forward(self,x):
        b,f,j,c=x.shape
        x=x.permute(0,2,3,1).reshape(b,j*c,f).contiguous()
        x=self.encoder(x).permute(0,2,1).contiguous()
        x=x+self.position_embed[:, :f]
        for l in self.layers: x=l(x)
        sequence=self.pose(self.sequence,x)
        for e,l in zip(self.embeds,self.strided):
            x=x+e[:, :x.shape[1]]
            x=l(x)
        return self.pose(self.single,x),sequence
