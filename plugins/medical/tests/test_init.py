"""Training starts from the weights of MONAI's own networks."""
import pytest
import torch
from monai.networks.nets import UNETR, BasicUNet, ResNet, SwinUNETR, ViT as MonaiViT

from ssl_core import pretrain
from ssl_core.weights import load_into
from ssl_medical.encoders import ResNet3D, SwinEncoder, UNetEncoder
from ssl_medical.export import to_monai
from ssl_medical.vit import ViT
from ssl_medical.volumes import Volumes

FACTS = {"channels": 1, "mean": (0.5,), "std": (0.25,)}
CUBES = {**FACTS, "image_size": (16, 16, 16)}
SMALL = {"epochs": 0, "data.volumes": 12, "data.side": 32, "data.batch_size": 4, "probe": "", "baselines": False, "quiet": True}


def vit():
    return MonaiViT(1, (32,) * 3, (8,) * 3, hidden_size=24, mlp_dim=96, num_layers=1, num_heads=4, qkv_bias=True)


def unetr():
    return UNETR(1, 2, (32,) * 3, feature_size=4, hidden_size=24, mlp_dim=96, num_heads=4, proj_type="conv", qkv_bias=True)


def unet():
    return BasicUNet(3, 1, 2, (4, 4, 8, 16, 32, 4), norm=("group", {"num_groups": 4}))


def resnet():
    return ResNet("basic", [1, 1, 1, 1], [4, 8, 16, 32], n_input_channels=1, conv1_t_size=3, conv1_t_stride=2, no_max_pool=True,
                  num_classes=3)


@pytest.mark.parametrize("method, options, make", [
    ("mae3d", {"encoder.width": 24, "encoder.depth": 1, "encoder.patch": 8}, vit),
    ("mae3d", {"encoder.width": 24, "encoder.depth": 12, "encoder.patch": 16}, unetr),
    ("models-genesis", {"encoder.width": 32}, unet), ("medical-vicreg", {"encoder.width": 32}, resnet)])
def test_every_weight_of_an_encoder_is_found(method, options, make, tmp_path):
    torch.manual_seed(5)
    torch.save({"state_dict": {f"module.{key}": value for key, value in make().state_dict().items()}}, tmp_path / "theirs.pt")
    run = pretrain("medical", method, out=tmp_path / "run", init=str(tmp_path / "theirs.pt"), **SMALL | options)
    theirs = torch.load(tmp_path / "theirs.pt", weights_only=True)["state_dict"]
    bags = {tuple(value.flatten().tolist()) for value in theirs.values()}
    assert all(tuple(value.flatten().tolist()) in bags for value in run.encoder.state_dict().values())


def test_a_swin_unetr_gives_its_transformer(tmp_path):
    torch.manual_seed(5)
    theirs = SwinUNETR(1, 2, feature_size=12, depths=(1,) * 4, num_heads=(3,) * 4, window_size=4)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")
    run = pretrain("medical", "swin-unetr-ssl", out=tmp_path / "run", init=str(tmp_path / "theirs.pt"),
                   **SMALL | {"encoder.width": 192, "method.width": 8})
    ours = run.encoder.body.state_dict()
    assert all(torch.equal(value, ours[key]) for key, value in theirs.swinViT.state_dict().items())


@pytest.mark.parametrize("made", [lambda: ViT(width=24, depth=2, patch=8, **CUBES), lambda: UNetEncoder(width=32, **FACTS),
                                  lambda: ResNet3D(width=32, **FACTS), lambda: SwinEncoder(width=192, **FACTS)],
                         ids=["vit3d", "unet3d", "resnet3d", "swin"])
def test_what_was_given_to_monai_comes_back(made, tmp_path):
    torch.manual_seed(0)
    ours, fresh = made().eval(), made().eval()
    for value in ours.parameters():
        torch.nn.init.normal_(value, std=0.1)
    torch.save(to_monai(ours).state_dict(), tmp_path / "monai.pt")
    load_into(fresh, str(tmp_path / "monai.pt"))
    side = 32 if isinstance(ours, SwinEncoder) else 16
    cubes = Volumes(torch.rand(2, 1, side, side, side))
    torch.testing.assert_close(fresh(cubes).pooled, ours(cubes).pooled)


def test_a_linear_patch_embedding_has_the_channel_last():
    theirs = MonaiViT(2, (16,) * 3, (8,) * 3, hidden_size=24, mlp_dim=96, num_layers=1, num_heads=4, qkv_bias=True,
                      proj_type="perceptron", pos_embed_type="none")
    ours = ViT(2, (16,) * 3, (0.0, 0.0), (1.0, 1.0), patch=8, width=24, depth=1)
    known = ours.state_dict()
    ours.load_state_dict({name: value for name, value in ours.translate(theirs.state_dict()).items() if name in known},
                         strict=False)
    voxels = torch.rand(3, 2, 16, 16, 16)
    rows = ours.cubes(Volumes(voxels))
    torch.testing.assert_close(ours.enter(rows), theirs.patch_embedding(voxels))
